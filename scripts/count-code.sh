#!/bin/sh
# Counts lines of code of the product (src/ and crates/): no tests, comments or blank lines.
#     scripts/count-code.sh [REVISION]
set -eu
cd "$(dirname "$0")/.."
rev=${1:-HEAD}
git ls-tree -r --name-only "$rev" -- src crates | grep '\.rs$' | grep -v '_tests\.rs$' | grep -v '/tests\.rs$' |
    while read -r file; do
        git show "$rev:$file" | awk '
            /^#\[cfg\(test\)\]/ { exit }
            /^[[:space:]]*$/ || /^[[:space:]]*\/\// { next }
            { n++ }
            END { print n + 0 }'
    done | awk '{ n += $1 } END { print n }'
