#!/bin/sh
# Puts Drift into a Falco that was installed as a package, or takes it out again:
#
#     scripts/install.sh install | uninstall
#
# It runs from a source tree (`make install` builds first) and from an unpacked drift-<version>-linux-<arch>.tar.gz.
# May be run again at any time. It says what it does with each file, and what to do next.
#
# DESTDIR      a root other than / (packages, images, tests); then nothing needs to be installed there
# SYSCONFDIR   Falco's configuration, /etc/falco
# DATADIR      Falco's data, /usr/share/falco: the library goes to plugins/, files as shipped to drift/
# BINDIR       for the command `drift`, /usr/local/bin
# DATAROOTDIR  for its man pages and completions, /usr/local/share
# LIBRARY, COMMAND   the built files, where they are not beside this script or in cargo's target folder
#
# A configuration or rules file that was changed is never written over: it is kept, and DATADIR/drift has the new one. Not
# a file with another ending beside it, since Falco reads every file in config.d, whatever it is called.
set -eu

fail() {
    echo "drift: $*" >&2
    exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
destdir=${DESTDIR:-}
sysconfdir=${SYSCONFDIR:-/etc/falco}
datadir=${DATADIR:-/usr/share/falco}
bindir=${BINDIR:-/usr/local/bin}
dataroot=${DATAROOTDIR:-/usr/local/share}
etc=$destdir$sysconfdir
data=$destdir$datadir
bin=$destdir$bindir
share=$destdir$dataroot

if [ -f "$here/libdrift.so" ]; then
    # An unpacked archive: all files lie beside this script.
    config_from=$here
    rules_from=$here
    library=${LIBRARY:-$here/libdrift.so}
    command=${COMMAND:-$here/drift}
else
    top=$(cd "$here/.." && pwd)
    target=${CARGO_TARGET_DIR:-$top/target}
    case $target in /*) ;; *) target=$top/$target ;; esac
    config_from=$top
    rules_from=$top/rules
    library=${LIBRARY:-$target/release/libdrift.so}
    command=${COMMAND:-$target/release/drift}
fi

# Writes a file in one step: what a running Falco has open or mapped stays whole.
put() { # mode from to
    mkdir -p "$(dirname "$3")"
    cp "$2" "$3.drift-tmp.$$"
    chmod "$1" "$3.drift-tmp.$$"
    mv -f "$3.drift-tmp.$$" "$3"
}

# A file that is only ever ours.
place() { # mode from to
    if cmp -s "$2" "$3"; then
        echo "  unchanged  $3"
    elif [ -e "$3" ]; then
        put "$1" "$2" "$3"
        echo "  updated    $3"
    else
        put "$1" "$2" "$3"
        echo "  new        $3"
    fi
}

# A file that people change. $data/drift has it as it was shipped last time.
place_config() { # from to
    shipped=$data/drift/$(basename "$1")
    if [ ! -e "$2" ] || cmp -s "$1" "$2"; then
        place 644 "$1" "$2"
    elif cmp -s "$shipped" "$2"; then
        put 644 "$1" "$2"
        echo "  updated    $2"
    else
        echo "  KEPT       $2: it was changed here. As shipped: $shipped"
        kept="$kept $2"
    fi
    cmp -s "$1" "$shipped" || put 644 "$1" "$shipped"
}

remove() { # path
    if [ -e "$1" ]; then
        rm -f "$1"
        echo "  removed    $1"
    fi
}

# Man pages and completions: an archive has them, in a source tree the command that was built writes them.
place_pages() {
    from=$here/share
    if [ ! -d "$from" ]; then
        from=$(mktemp -d)
        trap 'rm -rf "$from"' EXIT
        mkdir -p "$from/man/man1" "$from/bash-completion/completions" "$from/zsh/site-functions" \
            "$from/fish/vendor_completions.d"
        # A command built for another machine does not run here.
        "$command" man "$from/man/man1" 2> /dev/null || return 0
        "$command" completions bash > "$from/bash-completion/completions/drift"
        "$command" completions zsh > "$from/zsh/site-functions/_drift"
        "$command" completions fish > "$from/fish/vendor_completions.d/drift.fish"
    fi
    for file in "$from"/man/man1/*.1 "$from/bash-completion/completions/drift" "$from/zsh/site-functions/_drift" \
        "$from/fish/vendor_completions.d/drift.fish"; do
        if [ -s "$file" ]; then
            place 644 "$file" "$share/${file#"$from"/}"
        fi
    done
}

remove_config() { # name path
    if [ ! -e "$2" ]; then
        return
    elif cmp -s "$data/drift/$1" "$2"; then
        remove "$2"
    else
        # Where it is it would stop Falco: it asks for a plugin that is gone.
        mv -f "$2" "$etc/$1.saved"
        echo "  SAVED      $2, which was changed here, as $etc/$1.saved"
    fi
}

# Tells whether Drift's rules come first: `missing`, `late`, `first`, or `all` where the order does not matter.
rules_order() {
    [ -f "$etc/falco.yaml" ] || {
        echo missing
        return
    }
    awk '
        /^rule_matching:[ \t]*all/ { all = 1 }
        /^rules_files:/ { inside = 1; next }
        inside && /^[ \t]*(#|$)/ { next }
        inside && /^[ \t]*-/ {
            n++
            if ($0 ~ /drift_rules\.yaml/ && !drift) drift = n
            if ($0 ~ /\/falco_rules\.yaml/ && !falco) falco = n
            next
        }
        { inside = 0 }
        END {
            if (!drift) print "missing"
            else if (falco && falco < drift && !all) print "late"
            else print all ? "all" : "first"
        }' "$etc/falco.yaml"
}

install_all() {
    [ -f "$library" ] || fail "$library is not there; run \`make build\`, or set LIBRARY"
    if [ -z "$destdir" ]; then
        [ -d "$etc" ] || fail "$etc is not there: install Falco 0.41 or later first, or set SYSCONFDIR"
    fi
    kept=
    echo "drift: installing"
    place 755 "$library" "$data/plugins/libdrift.so"
    if [ -f "$command" ]; then
        place 755 "$command" "$bin/drift"
        place_pages
    fi
    place_config "$config_from/falco.drift_plugin.yaml" "$etc/config.d/falco.drift_plugin.yaml"
    place_config "$rules_from/drift_rules.yaml" "$etc/drift_rules.yaml"
    place_config "$rules_from/drift_source_rules.yaml" "$etc/rules.d/drift_source_rules.yaml"

    echo
    for file in $kept; do
        name=$(basename "$file")
        echo "Compare:   diff -u $file $data/drift/$name"
    done
    case $(rules_order) in
        missing)
            echo "One edit:  Falco does not read Drift's rules yet. In $etc/falco.yaml, before falco_rules.yaml:"
            echo
            echo "             rules_files:"
            echo "               - $sysconfdir/drift_rules.yaml"
            echo "               - $sysconfdir/falco_rules.yaml"
            echo "               - $sysconfdir/falco_rules.local.yaml"
            echo "               - $sysconfdir/rules.d"
            echo
            ;;
        late)
            echo "One edit:  in $etc/falco.yaml drift_rules.yaml comes after falco_rules.yaml. With"
            echo "           \`rule_matching: first\` rules of Falco would hide Drift's: move it to the top of rules_files."
            ;;
        *) ;;
    esac
    echo "Check:     falco --dry-run"
    echo "Then:      systemctl restart falco"
}

uninstall_all() {
    echo "drift: uninstalling"
    remove_config falco.drift_plugin.yaml "$etc/config.d/falco.drift_plugin.yaml"
    remove_config drift_rules.yaml "$etc/drift_rules.yaml"
    remove_config drift_source_rules.yaml "$etc/rules.d/drift_source_rules.yaml"
    remove "$data/plugins/libdrift.so"
    remove "$bin/drift"
    for file in "$share"/man/man1/drift.1 "$share"/man/man1/drift-*.1 "$share/bash-completion/completions/drift" \
        "$share/zsh/site-functions/_drift" "$share/fish/vendor_completions.d/drift.fish"; do
        remove "$file"
    done
    for name in falco.drift_plugin.yaml drift_rules.yaml drift_source_rules.yaml; do
        remove "$data/drift/$name"
    done
    if [ -d "$data/drift" ]; then
        rmdir "$data/drift" 2> /dev/null || echo "  left       $data/drift: it has files of others"
    fi

    echo
    if [ -f "$etc/falco.yaml" ] && grep -q '^[^#]*drift' "$etc/falco.yaml"; then
        echo "One edit:  $etc/falco.yaml still names Drift; take these lines out:"
        grep -n '^[^#]*drift' "$etc/falco.yaml" | sed 's/^/             /'
    fi
    echo "Check:     falco --dry-run"
    echo "Then:      systemctl restart falco"
}

case ${1:-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    -h | --help | help) sed -n '2,/^set -eu/{/^#/!d;s/^# \{0,1\}//p;}' "$0" ;;
    *) fail "usage: $0 install | uninstall | --help" ;;
esac
