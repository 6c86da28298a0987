//! The command lines of distributions' package managers, from their manual pages.

use crate::command::manager::names::Form;
use crate::command::manager::table::{
    asks, named, other, Command, Does, Effect, Kind, Marks, Operands, Table, Verb, COMMAND,
};
use crate::command::manager::Action;
use Action::{Install, Other, Query, Refresh, Remove, Upgrade};
use Does::{Act, Sub};
use Effect::Mark;
use Operands::Ignored;

// apt-get(8), apt(8). A simulation changes nothing and is a query; `--download-only` installs nothing.
pub(super) static APT: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install reinstall satisfy build-dep", Install),
        named("upgrade full-upgrade dist-upgrade dselect-upgrade", Upgrade),
        named("remove purge autoremove auto-remove autopurge", Remove),
        ("update", Act(Refresh, Ignored)),
        asks("list search show showsrc depends rdepends policy changelog check indextargets help showpkg moo why why-not"),
        asks("history-list history-info"),
        named("source download", Other),
    ]),
    options: &[
        ("-o --option -c --config-file -t --target-release --default-release -a --host-architecture", Effect::Arg),
        ("-P --build-profiles --solver --planner --with-source -S --snapshot --color", Effect::Arg),
        ("-s --simulate --just-print --dry-run --recon --no-act --print-uris -h --help -v --version", Effect::Query),
        ("-d --download-only", Effect::Other),
        ("--only-upgrade", Effect::Upgrade),
    ],
    form: Form::Apt,
    ..COMMAND
});

// aptitude(8), nala(8). Without a command it is a full-screen program.
pub(super) static APTITUDE: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install reinstall build-dep build-depends", Install),
        named("upgrade safe-upgrade full-upgrade dist-upgrade", Upgrade),
        named("remove purge autoremove autopurge", Remove),
        ("update", Act(Refresh, Ignored)),
        asks("search show showsrc list policy versions why why-not changelog help source-deps"),
        named("hold unhold keep markauto unmarkauto forbid-version download", Other),
    ]),
    options: &[
        ("-o -t --target-release --default-release -F --display-format -O --sort -w --width", Effect::Arg),
        ("--add-user-tag --remove-user-tag --group-by --log-file --log-level", Effect::Arg),
        ("-s --simulate -h --help --version --print-uris", Effect::Query),
        ("-d --download-only", Effect::Other),
    ],
    bare: Other,
    form: Form::Apt,
    ..COMMAND
});

// apt-cache(8).
pub(super) static APT_CACHE: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        other("gencaches"),
        asks("showpkg stats showsrc dump dumpavail unmet show search depends rdepends pkgnames dotty xvcg policy"),
        asks("madison"),
    ]),
    options: &[
        ("-p --pkg-cache -s --src-cache -o --option -c --config-file -t --target-release", Effect::Arg),
        ("-h --help -v --version", Effect::Query),
    ],
    form: Form::Apt,
    ..COMMAND
});

// apt-mark(8).
pub(super) static APT_MARK: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        asks("showauto showmanual showhold showinstall showremove showpurge"),
        named(
            "auto manual minimize-manual hold unhold install remove deinstall purge markauto unmarkauto",
            Other,
        ),
    ]),
    options: &[
        ("-f --file -o --option -c --config-file", Effect::Arg),
        ("-s --simulate --dry-run --just-print --recon --no-act -h --help -v --version", Effect::Query),
    ],
    form: Form::Apt,
    ..COMMAND
});

// apt-key(8).
pub(super) static APT_KEY: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        asks("list finger export exportall help"),
        other("add del adv update net-update remove"),
    ]),
    options: &[("--keyring", Effect::Arg), ("-h --help", Effect::Query)],
    ..COMMAND
});

/// The action by marks that stand for themselves: query before anything else.
fn plain_marks(marks: &Marks) -> Action {
    match marks {
        m if m.has(b"q") || !m.any => Query,
        m if m.has(b"i") => Install,
        m if m.has(b"u") => Upgrade,
        m if m.has(b"r") => Remove,
        _ => Other,
    }
}

// dpkg(1), ACTIONS and OPTIONS. `-l`, `-W` and their kin are handed to dpkg-query, `-I`, `-c` and theirs to
// dpkg-deb.
pub(super) static DPKG: Table = Table::new(Command {
    kind: Kind::Marks(plain_marks),
    options: &[
        ("-i --install --unpack", Mark(b'i')),
        ("-r --remove -P --purge", Mark(b'r')),
        ("-l --list -L --listfiles -S --search -s --status -p --print-avail -C --audit -V --verify", Mark(b'q')),
        ("--get-selections --compare-versions --print-architecture --print-foreign-architectures", Mark(b'q')),
        ("--yet-to-unpack --predep-package --force-help -Dh -? --help --version --assert-help -Dhelp", Mark(b'q')),
        ("--assert-multi-arch --assert-protected-field --assert-support-predepends --assert-long-filenames", Mark(b'q')),
        ("--assert-working-epoch --assert-multi-conrep --assert-versioned-provides", Mark(b'q')),
        ("--validate-pkgname --validate-trigname --validate-archname --validate-version", Mark(b'q')),
        ("-c --contents -I --info -f --field --show -W --fsys-tarfile --ctrl-tarfile --robot", Mark(b'q')),
        ("--simulate --dry-run --no-act", Mark(b'q')),
        ("--configure --triggers-only --set-selections --clear-selections --update-avail --merge-avail", Mark(b'o')),
        ("-A --record-avail --forget-old-unavail --clear-avail", Mark(b'o')),
        ("-b --build -x --extract -X --vextract -e --control", Mark(b'o')),
        ("--add-architecture --remove-architecture", Mark(b'n')),
        ("--status-fd --root --admindir --instdir --log --ignore-depends --abort-after --debug", Effect::Arg),
        ("--status-logger --path-exclude --path-include --verify-format -D --pre-invoke --post-invoke", Effect::Arg),
    ],
    form: Form::Dpkg,
    ..COMMAND
});

// dpkg-deb(1). Only what writes files is more than a question.
pub(super) static DPKG_DEB: Table = Table::new(Command {
    kind: Kind::Marks(plain_marks),
    options: &[
        (
            "-c --contents -I --info -f --field -W --show --fsys-tarfile --ctrl-tarfile -? --help --version",
            Mark(b'q'),
        ),
        ("-b --build -x --extract -X --vextract -R --raw-extract -e --control", Mark(b'o')),
        ("--showformat -z -Z -S --threads-max --deb-format", Effect::Arg),
    ],
    form: Form::Dpkg,
    ..COMMAND
});

// dpkg-query(1).
pub(super) static DPKG_QUERY: Table = Table::new(Command {
    kind: Kind::Marks(|_| Query),
    options: &[("-f --showformat --admindir --root", Effect::Arg)],
    form: Form::Dpkg,
    ..COMMAND
});

// apk(8).
pub(super) static APK: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("add fix", Install),
        named("upgrade", Upgrade),
        named("del", Remove),
        ("update", Act(Refresh, Ignored)),
        asks("info list search dot policy stats version audit verify query manifest adbdump"),
        named("fetch", Other),
        other("cache index mkndx mkpkg extract convdb adbsign adbgen"),
    ]),
    options: &[
        ("-p --root -X --repository --keys-dir --repositories-file --wait --arch --cache-dir", Effect::Arg),
        ("--cache-max-age --progress-fd --timeout --repository-config", Effect::Arg),
        ("-s --simulate -h --help -V --version", Effect::Query),
    ],
    after: &[("-t --virtual", Effect::Arg), ("-u --upgrade", Effect::Upgrade)],
    form: Form::Apk,
    ..COMMAND
});

// yum(8), dnf(8), dnf5(8), microdnf(8), tdnf(8).
pub(super) static DNF: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install in localinstall reinstall rei builddep build-dep debuginfo-install swap downgrade dg", Install),
        named("groupinstall", Install),
        named("upgrade up update upgrade-to update-to upgrade-minimal update-minimal localupdate up-min", Upgrade),
        named("distro-sync distrosync distribution-synchronization dsync groupupdate upgrade-group", Upgrade),
        named("remove rm erase autoremove groupremove groupErase", Remove),
        ("makecache mc", Act(Refresh, Ignored)),
        asks("check check-update check-upgrade list ls info search se provides whatprovides prov repolist repoinfo"),
        asks("repoquery rq deplist help grouplist groupinfo updateinfo needs-restarting leaves repoclosure repodiff"),
        asks("advisory changelog alias-list repolist"),
        ("group groups grp", Sub(GROUP, Query)),
        ("module", Sub(GROUP, Query)),
        ("environment", Sub(GROUP, Query)),
        (
            "history hist",
            Sub(&[other("undo redo rollback userinstalled-store store replay"), asks("list info packages")], Query),
        ),
        named("download versionlock", Other),
        ("mark", Sub(&[named("install remove group user dependency weak", Other)], Other)),
        other("clean shell sh config-manager copr system-upgrade offline offline-upgrade reposync makecache-timer repo"),
    ]),
    options: &[
        ("-c --config -d --debuglevel -e --errorlevel -x --exclude --excludepkgs --enablerepo", Effect::Arg),
        ("--disablerepo --repo --repoid --releasever --installroot --setopt --advisory --advisories", Effect::Arg),
        ("--bz --bzs --cve --cves --sec-severity --secseverity --forcearch --comment --color", Effect::Arg),
        ("--rpmverbosity -R --randomwait --disableplugin --enableplugin --destdir --downloaddir", Effect::Arg),
        ("--repofrompath --from-repo --arch --disableexcludes --disableexcludepkgs", Effect::Arg),
        ("--enable-repo --disable-repo --setvar --rpmdefine", Effect::Arg),
        ("-h --help --help-cmd --version --assumeno --testonly", Effect::Query),
        ("--downloadonly", Effect::Other),
    ],
    form: Form::Rpm,
    ..COMMAND
});

const GROUP: &[Verb] = &[
    named("install", Install),
    named("upgrade update", Upgrade),
    named("remove erase", Remove),
    asks("list info summary provides repoquery"),
    named("enable disable reset switch-to mark", Other),
];

// rpm(8). `-i` is a detail of a question after `-q`.
pub(super) static RPM: Table = Table::new(Command {
    kind: Kind::Marks(plain_marks),
    options: &[
        ("-i --install --reinstall", Mark(b'i')),
        ("-U --upgrade -F --freshen", Mark(b'u')),
        ("-e --erase", Mark(b'r')),
        // Keys, not packages.
        ("--import", Mark(b'n')),
        ("-q --query -V --verify -K --checksig --querytags --showrc -? --help --version --test", Mark(b'q')),
        ("--whatprovides --whatrequires -E --eval", Mark(b'q')),
        ("--initdb --rebuilddb --setperms --setugids --restore --delsign --addsign --resign", Mark(b'o')),
        (
            "--root -r --dbpath -D --define --undefine --prefix --relocate --excludepath --rcfile --macros",
            Effect::Arg,
        ),
        ("--pipe --queryformat --qf --load --predefine", Effect::Arg),
    ],
    form: Form::Rpm,
    ..COMMAND
});

// rpmdb(8), rpmkeys(8).
pub(super) static RPMDB: Table = Table::new(Command {
    kind: Kind::Marks(plain_marks),
    options: &[
        ("--verifydb --exportdb -K --checksig --list --export -? --help --version", Mark(b'q')),
        ("--initdb --rebuilddb --importdb --import --erase --delete", Mark(b'o')),
        ("--root -r --dbpath -D --define --rcfile --macros", Effect::Arg),
    ],
    form: Form::Rpm,
    ..COMMAND
});

// zypper(8): `-D` and `-R` mean other things before the verb.
pub(super) static ZYPPER: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install in source-install si install-new-recommends inr verify ve", Install),
        named("update up dist-upgrade dup patch", Upgrade),
        named("remove rm removeptf rmptf", Remove),
        ("refresh ref refresh-services refs", Act(Refresh, Ignored)),
        asks("search se info if list-updates lu list-patches lp packages pa patterns pt products pd patches pch"),
        asks("repos lr services ls patch-check pchk what-provides wp patch-info pattern-info product-info help ?"),
        asks("locks ll targetos tos versioncmp vcmp licenses ps system-architecture needs-rebooting locales lloc"),
        named("addlock al removelock rl download", Other),
        other("addrepo ar removerepo rr renamerepo nr modifyrepo mr addservice as removeservice rs modifyservice ms"),
        other("clean cc cleanlocks cl purge-kernels shell sh subcommand addlocale aloc removelocale rloc source-download"),
    ]),
    before: &[
        ("-R --root -D --reposd-dir -C --cache-dir -c --config --installroot -p --plus-repo", Effect::Arg),
        ("--raw-cache-dir --solv-cache-dir --pkg-cache-dir --userdata -s --table-style --plus-content", Effect::Arg),
        ("--releasever --target-os", Effect::Arg),
        ("-h --help -V --version", Effect::Query),
    ],
    after: &[
        ("-r --repo --from -t --type --download --solver-focus -b --bugzilla --cve --date -g --category", Effect::Arg),
        ("--severity --catalog -p --plus-repo --plus-content --userdata -R --root --installroot", Effect::Arg),
        ("-h --help -D --dry-run", Effect::Query),
        ("-d --download-only", Effect::Other),
    ],
    form: Form::Zypper,
    ..COMMAND
});

fn pacman(marks: &Marks) -> Action {
    match marks {
        m if m.has(b"hVQFT") || !m.any => Query,
        // pacman(8), SYNC OPTIONS: search, information, list, groups and print change nothing.
        m if m.has(b"S") && m.has(b"silgp") => Query,
        m if m.has(b"S") && m.has(b"cw") => Other,
        m if m.has(b"S") && m.named => Install,
        m if m.has(b"S") && m.has(b"u") => Upgrade,
        m if m.has(b"S") && m.has(b"y") => Refresh,
        m if m.has(b"UR") && m.has(b"p") => Query,
        m if m.has(b"U") && m.has(b"w") => Other,
        m if m.has(b"U") => Install,
        m if m.has(b"R") => Remove,
        m if m.has(b"S") => Install,
        _ => Other,
    }
}

// pacman(8). Options stand in any order and share elements: `-Syu`, `-yS`.
pub(super) static PACMAN: Table = Table::new(Command {
    kind: Kind::Marks(pacman),
    options: &[
        ("-S --sync", Mark(b'S')),
        ("-U --upgrade", Mark(b'U')),
        ("-R --remove", Mark(b'R')),
        ("-Q --query", Mark(b'Q')),
        ("-F --files", Mark(b'F')),
        ("-D --database", Mark(b'D')),
        ("-T --deptest", Mark(b'T')),
        ("-h --help", Mark(b'h')),
        ("-V --version", Mark(b'V')),
        ("-y --refresh", Mark(b'y')),
        ("-u --sysupgrade", Mark(b'u')),
        // `-s` of -R is --recursive; only -S and -Q look at the mark.
        ("-s --search", Mark(b's')),
        ("-i --info", Mark(b'i')),
        ("-l --list", Mark(b'l')),
        ("-g --groups", Mark(b'g')),
        ("-c --clean", Mark(b'c')),
        ("-w --downloadonly", Mark(b'w')),
        ("-p --print", Mark(b'p')),
        (
            "-b --dbpath -r --root --arch --cachedir --color --config --gpgdir --hookdir --logfile",
            Effect::Arg,
        ),
        (
            "--sysroot --ignore --ignoregroup --assume-installed --overwrite --print-format -o --owns",
            Effect::Arg,
        ),
    ],
    form: Form::Pacman,
    ..COMMAND
});
