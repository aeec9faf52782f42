# Prices of parcels, as README.md has them.

# shipping_cost GRAMS: prints the price in cents.
shipping_cost() {
    if [ "$1" -lt 1000 ]; then
        echo 400
    else
        echo 700
    fi
}
