# Addresses of pages, as README.md describes them.

# slug TITLE: prints the last part of the page's address.
slug() {
    printf '%s\n' "$1" | tr '[:upper:]' '[:lower:]' | tr ' ' '-'
}
