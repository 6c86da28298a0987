#!/usr/bin/env bash
# The inputs that fuzzing keeps: one archive for each target, fuzz/corpus/TARGET.tar.
#   corpus.sh add TARGET FILE...     adds inputs under their own names; libFuzzer's are their SHA-1
#   corpus.sh replace TARGET FOLDER  keeps the files of a folder instead, such as what `cargo fuzz cmin` left
#   corpus.sh unpack TARGET FOLDER   writes all of them into a folder
set -eu
usage() { sed -n '2,5s/^# *//p' "$0" >&2; exit 2; }
[ $# -ge 3 ] || usage
command=$1 target=$2; shift 2
archive=$(dirname "$0")/../fuzz/corpus/$target.tar
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

# The same files make the same archive: sorted, without times and owners.
pack() {
	tar --create --file "$temporary.tar" --directory "$1" --format ustar --sort name --mtime @0 --owner 0 --group 0 \
		--numeric-owner --mode 0644 -- $(ls -A "$1")
	mv "$temporary.tar" "$archive"
}

case $command in
add)
	[ ! -e "$archive" ] || tar --extract --file "$archive" --directory "$temporary"
	cp -- "$@" "$temporary"
	pack "$temporary" ;;
replace)
	pack "$1" ;;
unpack)
	mkdir -p "$1"
	tar --extract --file "$archive" --directory "$1" ;;
*)
	usage ;;
esac
