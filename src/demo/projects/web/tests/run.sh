#!/bin/sh
# Checks addresses against the rules in README.md.

cd "$(dirname "$0")/.." || exit 1
. ./lib/slug.sh

passed=0
failed=0

check() {
    if [ "$2" = "$3" ]; then
        echo "ok    $1"
        passed=$((passed + 1))
    else
        echo "FAIL  $1: expected $2, got $3"
        failed=$((failed + 1))
    fi
}

check "one word" "news" "$(slug 'News')"
check "two words" "about-us" "$(slug 'About us')"
check "two spaces" "open-hours" "$(slug 'Open  hours')"

echo "passed: $passed, failed: $failed"
[ "$failed" -eq 0 ]
