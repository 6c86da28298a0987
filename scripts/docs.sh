#!/bin/sh
# Builds the documentation as a site, in <target>/book: docs/SUMMARY.md says which pages, in which order.
#
# Pages at the top of the repository (README, ARCHITECTURE, ...) are part of it; links to other files of the repository
# lead to the file's text beside the site. mdBook goes to <target>/dist-tools, in the version named here, and is installed
# once. MDBOOK: another one.
set -eu

mdbook_version=0.4.52

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
tools=$target/dist-tools
mdbook=${MDBOOK:-$tools/bin/mdbook}

if [ "$("$mdbook" --version 2> /dev/null)" != "mdbook v$mdbook_version" ] && [ -z "${MDBOOK:-}" ]; then
    CARGO_TARGET_DIR=$tools/build cargo install --locked --quiet --root "$tools" --version "$mdbook_version" \
        --no-default-features --features search mdbook
    rm -rf "$tools/build"
fi

# mdBook takes pages from one folder, so that the repository's layout is laid out there: links stay as they are.
book=$target/book-src
rm -rf "$book" "$target/book"
mkdir -p "$book/src"
git ls-files -z -- '*.md' docs deploy rules scripts falco.yaml.example falco.drift_plugin.yaml |
    xargs -0 cp --parents -t "$book/src" 2> /dev/null
# The summary stands at the top of the folder; its links are those of docs/.
sed -e 's,](\([a-z]\),](docs/\1,' -e 's,](\.\./,](,' "$book/src/docs/SUMMARY.md" > "$book/src/SUMMARY.md"
rm "$book/src/docs/SUMMARY.md"
cat > "$book/book.toml" << 'TOML'
[book]
title = "Drift"
description = "A Falco plugin that detects what in a container is neither its image's nor its deployment's"
language = "en"

[output.html]
no-section-label = true

[output.html.fold]
enable = true
level = 0
TOML
"$mdbook" build --dest-dir "$target/book" "$book"
echo "docs: $target/book/index.html"
