#!/bin/sh
# Checks the prices against the table in README.md.

cd "$(dirname "$0")/.." || exit 1
. ./lib/shipping.sh

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

check "a parcel of 500 g" 400 "$(shipping_cost 500)"
check "a parcel of 1000 g" 400 "$(shipping_cost 1000)"
check "a parcel of 1001 g" 700 "$(shipping_cost 1001)"

echo "passed: $passed, failed: $failed"
[ "$failed" -eq 0 ]
