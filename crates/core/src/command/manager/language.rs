//! The command lines of other languages' package managers, from their manuals: Ruby, Rust, Go, PHP, Perl and
//! Lua.

use crate::command::manager::names::Form;
use crate::command::manager::table::{
    asks, named, other, starts, starts_package, unnamed, Command, Does, Effect, Kind, Marks, Operands, Table,
    COMMAND,
};
use crate::command::manager::Action;
use Action::{Install, Other, Query, Remove, Upgrade};
use Does::{Act, Again, Sub};
use Effect::Mark;
use Operands::{First, Ignored};

// `gem help commands`. After `--` come options for building.
pub(super) static GEM: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install i", Install),
        named("update", Upgrade),
        named("uninstall", Remove),
        named("cleanup", Remove),
        asks("list search info query specification dependency contents which environment env help outdated stale"),
        named("fetch unpack pristine rdoc check build lock open", Other),
        ("sources", Sub(&[], Query)),
        starts_package("exec"),
        other("cert generate_index mirror owner push rebuild server setup signin signout yank"),
    ]),
    options: &[("--config-file", Effect::Arg), ("-h --help", Effect::Query)],
    before: &[("-v --version", Effect::Query)],
    after: &[
        ("-v --version -i --install-dir -n --bindir --build-root --platform -P --trust-policy -s --source", Effect::Arg),
        ("--without -B --bulk-threshold --target-rbconfig --document --key -k --host", Effect::Arg),
        ("--explain", Effect::Query),
    ],
    form: Form::Gem,
    dashes_end: true,
    ..COMMAND
});

// bundle(1). Without a verb it installs.
pub(super) static BUNDLER: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        unnamed("install i", Install),
        named("add", Install),
        named("update upgrade", Upgrade),
        named("remove", Remove),
        asks("list ls show info outdated check doctor viz licenses help version env fund platform"),
        starts("exec e ex exe"),
        other("lock cache package pack config clean open init gem pristine inject plugin console binstubs issue"),
    ]),
    options: &[("--gemfile --retry", Effect::Arg), ("-h --help", Effect::Query)],
    before: &[("-v --version", Effect::Query)],
    after: &[
        ("-j --jobs --path --shebang --trust-policy --without --with --target-rbconfig -v --version -g", Effect::Arg),
        ("--group -s --source -r --require --git --github --branch --ref --glob", Effect::Arg),
    ],
    bare: Install,
    form: Form::Gem,
    ..COMMAND
});

// cargo(1), cargo-install(1). `cargo add` and its kin change a manifest only.
pub(super) static CARGO: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install", Install),
        named("uninstall", Remove),
        named("add remove rm", Other),
        asks("search info tree metadata version help locate-project pkgid read-manifest verify-project"),
        starts("run r"),
        other("build b check c clean doc d fetch fix generate-lockfile init login logout new owner package publish"),
        other("bench test t update vendor yank rustc rustdoc report config clippy fmt miri"),
    ]),
    options: &[
        ("--root --path --features -F -j --jobs --target --target-dir --profile --bin --example", Effect::Arg),
        ("--registry --index --branch --tag --rev --config -Z -p --package --color --message-format -C", Effect::Arg),
        ("--manifest-path --vers --lockfile-path", Effect::Arg),
        ("--git", Effect::Source),
        ("-h --help --list -n --dry-run", Effect::Query),
    ],
    before: &[("-V --version", Effect::Query)],
    after: &[("--version", Effect::Arg)],
    form: Form::Crate,
    ..COMMAND
});

// `go help`. Options start with one dash or two; `-n` prints commands and runs none.
pub(super) static GO: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install get", Install),
        (
            "mod",
            Sub(
                &[named("download", Install), asks("graph verify why help"), other("edit init tidy vendor")],
                Query,
            ),
        ),
        asks("list version env doc help vet"),
        starts("run"),
        other("build clean fix fmt generate test tool work bug telemetry"),
    ]),
    options: &[
        (
            "-C -p -asmflags -buildmode -compiler -gccgoflags -gcflags -installsuffix -ldflags -mod -modfile",
            Effect::Arg,
        ),
        ("-overlay -pgo -pkgdir -tags -toolexec -covermode -coverpkg -reuse -o", Effect::Arg),
        ("-h -help -n", Effect::Query),
        ("-u -u=patch", Effect::Upgrade),
    ],
    form: Form::Go,
    clusters: false,
    ..COMMAND
});

// Composer's documentation, "Command-line interface".
pub(super) static COMPOSER: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("require r req reinstall", Install),
        unnamed("install i", Install),
        ("create-project", Act(Install, First)),
        named("update u upgrade", Upgrade),
        unnamed("self-update selfupdate", Upgrade),
        named("remove rm uninstall", Remove),
        ("global", Again),
        asks(
            "show info search outdated depends why prohibits why-not licenses audit diagnose about help list",
        ),
        asks("validate status check-platform-reqs fund suggests browse home"),
        starts("exec run-script run"),
        other("dump-autoload dumpautoload config init clear-cache clearcache cc archive bump repository"),
    ]),
    options: &[
        (
            "-d --working-dir --prefer-install --ignore-platform-req --apcu-autoloader-prefix --repository",
            Effect::Arg,
        ),
        ("--repository-url -s --stability --format", Effect::Arg),
        ("-h --help -V --version --dry-run", Effect::Query),
        ("--no-install", Effect::Other),
    ],
    form: Form::Composer,
    ..COMMAND
});

fn cpan(marks: &Marks) -> Action {
    match marks {
        m if m.has(b"q") => Query,
        m if m.has(b"u") => Upgrade,
        m if m.has(b"o") && !m.has(b"i") => Other,
        m if m.named => Install,
        // Without a module: a prompt.
        _ => Other,
    }
}

// cpan(1): modules without an option are installed.
pub(super) static CPAN: Table = Table::new(Command {
    kind: Kind::Marks(cpan),
    options: &[
        ("-i", Mark(b'i')),
        ("-u", Mark(b'u')),
        ("-A -C -D -J -L -O -P -p -V -v -h -l -n -x -X", Mark(b'q')),
        ("-a -c -g -G -m -r -s -t", Mark(b'o')),
        ("-j -M", Effect::Arg),
        ("--help --version", Effect::Query),
    ],
    form: Form::Cpan,
    ..COMMAND
});

fn cpanm(marks: &Marks) -> Action {
    match marks {
        m if m.has(b"q") || !m.any => Query,
        m if m.has(b"r") => Remove,
        m if m.has(b"u") => Upgrade,
        m if m.has(b"o") => Other,
        _ => Install,
    }
}

// cpanm(1).
pub(super) static CPANM: Table = Table::new(Command {
    kind: Kind::Marks(cpanm),
    options: &[
        ("-U --uninstall", Mark(b'r')),
        ("--self-upgrade", Mark(b'u')),
        ("--info --scandeps --showdeps -h --help -V --version", Mark(b'q')),
        ("--look", Mark(b'o')),
        (
            "-l --local-lib -L --local-lib-contained -M --from --mirror --cpanfile --save-dists --format",
            Effect::Arg,
        ),
        (
            "--configure-args --build-args --test-args --install-args --configure-timeout --build-timeout",
            Effect::Arg,
        ),
        (
            "--test-timeout --with-feature --without-feature --cpanmetadb --auto-cleanup --exclude-vendor",
            Effect::Arg,
        ),
    ],
    form: Form::Cpan,
    ..COMMAND
});

// `luarocks help`. A second argument is a version.
pub(super) static LUAROCKS: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        ("install build make", Act(Install, First)),
        ("remove", Act(Remove, First)),
        ("purge", Act(Remove, Ignored)),
        asks("list search show doc config path which help lint completion"),
        ("download unpack pack", Act(Other, First)),
        other("new_version write_rockspec upload init test admin"),
    ]),
    options: &[
        (
            "--server --from --only-server --only-from --only-sources --only-sources-from --namespace",
            Effect::Arg,
        ),
        (
            "--lua-dir --lua-version --tree --to --timeout --project-tree --sign-key --branch --porcelain-to",
            Effect::Arg,
        ),
        ("-h --help --version", Effect::Query),
    ],
    form: Form::Rock,
    ..COMMAND
});
