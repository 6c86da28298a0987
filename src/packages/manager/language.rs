//! The command lines of languages' package managers, from their manuals.

use super::names::Form;
use super::table::{Command, Does, Effect, Kind, Marks, Operands, Options, Table, Verb, COMMAND};
use super::Action;
use Action::{Install, Other, Query, Remove, Upgrade};
use Does::{Act, Again, Skip, Sub};
use Effect::Mark;
use Operands::{All, First, Ignored, Package, Program};

const fn asks(words: &'static str) -> Verb {
    (words, Act(Query, Ignored))
}

const fn other(words: &'static str) -> Verb {
    (words, Act(Other, Ignored))
}

const fn named(words: &'static str, action: Action) -> Verb {
    (words, Act(action, All))
}

const fn unnamed(words: &'static str, action: Action) -> Verb {
    (words, Act(action, Ignored))
}

/// A verb that starts a program.
const fn starts(words: &'static str) -> Verb {
    (words, Act(Other, Program))
}

/// A verb that starts a package's program, fetched if need be.
const fn starts_package(words: &'static str) -> Verb {
    (words, Act(Other, Package))
}

const PIP_OPTIONS: &[(&str, Effect)] = &[
    // General options and those of indexes.
    ("--python --log --log-file --local-log --keyring-provider --proxy --retries --timeout", Effect::Arg),
    (
        "--default-timeout --exists-action --trusted-host --cert --client-cert --cache-dir --use-feature",
        Effect::Arg,
    ),
    (
        "--use-deprecated --resume-retries -i --index-url --pypi-url --extra-index-url -f --find-links",
        Effect::Arg,
    ),
    // Those of verbs.
    (
        "-r --requirement -c --constraint -t --target --platform --python-version --implementation --abi",
        Effect::Arg,
    ),
    (
        "--root --prefix --src --source --source-dir --source-directory -b --build --upgrade-strategy",
        Effect::Arg,
    ),
    (
        "-C --config-settings --config-setting --global-option --install-option --build-option --no-binary",
        Effect::Arg,
    ),
    (
        "--only-binary --progress-bar --report --group --root-user-action --build-constraint -d --dest",
        Effect::Arg,
    ),
    (
        "--download --download-dir --uploaded-prior-to --requirements-from-script --exclude --path --format",
        Effect::Arg,
    ),
    (
        "-w --wheel-dir -o --output --link-mode --exclude-newer --reinstall-package --upgrade-package -P",
        Effect::Arg,
    ),
    ("-e --editable", Effect::Operand),
    ("-h --help -V --version --dry-run", Effect::Query),
];

// pip's documentation, "pip install" and so on.
pub(super) static PIP: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install", Install),
        named("uninstall", Remove),
        asks("list show freeze check search index hash completion debug inspect help"),
        named("download wheel", Other),
        other("cache lock"),
        ("config", Sub(&[asks("list get debug"), other("set unset edit")], Query)),
    ]),
    options: PIP_OPTIONS,
    after: &[("-U --upgrade", Effect::Upgrade)],
    form: Form::Pip,
    ..COMMAND
});

// ensurepip: without arguments it installs pip.
pub(super) static ENSUREPIP: Table = Table::new(Command {
    kind: Kind::Marks(|_| Install),
    acts_on: Some("pip"),
    options: &[
        ("--root", Effect::Arg),
        ("-h --help --version", Effect::Query),
        ("-U --upgrade", Effect::Upgrade),
    ],
    ..COMMAND
});

const UV_OPTIONS: Options = &[
    (
        "--cache-dir --config-file --directory --project --color --allow-insecure-host -p --python",
        Effect::Arg,
    ),
    (
        "--python-preference --index --default-index -i --index-url --extra-index-url -f --find-links",
        Effect::Arg,
    ),
    (
        "--index-strategy --keyring-provider --resolution --prerelease --fork-strategy -C --config-setting",
        Effect::Arg,
    ),
    ("--config-settings --exclude-newer --link-mode --refresh-package -P --upgrade-package", Effect::Arg),
    ("--reinstall-package --no-binary --only-binary --no-build-package --no-binary-package", Effect::Arg),
    ("-r --requirement --requirements -c --constraint --constraints --override --overrides", Effect::Arg),
    (
        "-b --build-constraint --build-constraints --target --prefix --python-version --python-platform",
        Effect::Arg,
    ),
    (
        "--group --no-group --only-group --extra --no-extra --package --script --optional --tag --branch",
        Effect::Arg,
    ),
    (
        "--rev --bounds --no-install-package --torch-backend --with-requirements --with-editable --from",
        Effect::Arg,
    ),
    ("--marker -m --excludes --mirror --pypy-mirror --install-dir --env-file --with --format", Effect::Arg),
    ("-e --editable", Effect::Operand),
    ("-h --help -V --version --dry-run", Effect::Query),
];

// uv's documentation, "Commands".
pub(super) static UV: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        (
            "pip",
            Sub(
                &[
                    named("install", Install),
                    unnamed("sync", Install),
                    named("uninstall", Remove),
                    asks("list show freeze check tree help"),
                    other("compile"),
                ],
                Query,
            ),
        ),
        (
            "tool",
            Sub(
                &[
                    ("install", Act(Install, First)),
                    named("upgrade", Upgrade),
                    named("uninstall", Remove),
                    asks("list dir"),
                    starts_package("run"),
                    other("update-shell"),
                ],
                Query,
            ),
        ),
        (
            "python",
            Sub(
                &[
                    unnamed("install", Install),
                    unnamed("upgrade", Upgrade),
                    unnamed("uninstall", Remove),
                    asks("list find dir"),
                ],
                Query,
            ),
        ),
        ("self", Sub(&[unnamed("update", Upgrade), asks("version")], Query)),
        ("cache", Sub(&[asks("dir size"), other("clean prune")], Query)),
        named("add", Install),
        unnamed("sync", Install),
        named("remove", Remove),
        asks("tree version help export generate-shell-completion"),
        starts("run"),
        other("init lock venv build publish format auth workspace"),
    ]),
    options: UV_OPTIONS,
    after: &[("-U --upgrade", Effect::Upgrade)],
    form: Form::Pip,
    ..COMMAND
});

// uvx is `uv tool run`: it runs a package's program, fetched if need be.
pub(super) static UVX: Table =
    Table::new(Command { kind: Kind::Package, options: UV_OPTIONS, form: Form::Pip, ..COMMAND });

// Poetry's documentation, "Commands".
pub(super) static POETRY: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("add", Install),
        unnamed("install sync", Install),
        named("update", Upgrade),
        named("remove", Remove),
        (
            "self",
            Sub(
                &[
                    named("add", Install),
                    unnamed("install sync", Install),
                    unnamed("update", Upgrade),
                    named("remove", Remove),
                    asks("show"),
                    other("lock"),
                ],
                Query,
            ),
        ),
        ("env", Sub(&[asks("info list activate"), other("use remove")], Query)),
        ("cache", Sub(&[asks("list"), other("clear")], Query)),
        ("source", Sub(&[asks("show"), other("add remove")], Query)),
        ("debug", Sub(&[asks("info resolve")], Query)),
        ("python", Sub(&[unnamed("install", Install), unnamed("remove", Remove), asks("list")], Query)),
        asks("show check search about help list"),
        starts("run"),
        other("lock export build publish config init new shell version"),
    ]),
    options: &[
        (
            "-C --directory -P --project -G --group -E --extras --python --platform --source --with",
            Effect::Arg,
        ),
        ("--without --only --markers", Effect::Arg),
        ("-h --help -V --version --dry-run", Effect::Query),
        ("--lock", Effect::Other),
    ],
    form: Form::Pip,
    ..COMMAND
});

// conda's, mamba's and micromamba's `--help`.
pub(super) static CONDA: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install create", Install),
        named("update upgrade", Upgrade),
        named("remove uninstall", Remove),
        (
            "env",
            Sub(
                &[
                    unnamed("create", Install),
                    unnamed("update", Upgrade),
                    unnamed("remove", Remove),
                    asks("list export config"),
                ],
                Query,
            ),
        ),
        unnamed("self-update", Upgrade),
        asks("list search info compare doctor repoquery notices help export package env-list"),
        starts("run"),
        other("clean config init activate deactivate shell rename build create-lock reset auth token pack"),
    ]),
    options: &[
        (
            "-n --name -p --prefix -c --channel -f --file --clone --revision --solver --experimental-solver",
            Effect::Arg,
        ),
        (
            "--repodata-fn --subdir --platform --root-prefix -r --rc-file --relocate-prefix --category",
            Effect::Arg,
        ),
        ("--experimental --sha256 --override-channels-from --console", Effect::Arg),
        ("-h --help -V --version -d --dry-run", Effect::Query),
        ("--download-only", Effect::Other),
    ],
    form: Form::Conda,
    ..COMMAND
});

const NODE_OPTIONS: Options = &[
    (
        "--prefix -C --registry --cache --userconfig --globalconfig --loglevel --tag --omit --include",
        Effect::Arg,
    ),
    (
        "--install-strategy --before --save-prefix --proxy --https-proxy --http-proxy --noproxy --otp",
        Effect::Arg,
    ),
    (
        "--access --depth --fetch-retries --fetch-timeout --fetch-retry-mintimeout --fetch-retry-maxtimeout",
        Effect::Arg,
    ),
    (
        "--maxsockets --node-options --script-shell --user-agent --location -L --cafile --ca --cert --key",
        Effect::Arg,
    ),
    (
        "--cpu --os --libc --scope --auth-type --logs-dir --logs-max --workspace -w --package -c --call",
        Effect::Arg,
    ),
    ("--_authToken --init-author-name --min-release-age", Effect::Arg),
    ("-h --help -? -v --version --versions --dry-run", Effect::Query),
    ("--package-lock-only", Effect::Other),
];

// npm's documentation, "CLI Commands", with every alias of lib/utils/cmd-list.js.
pub(super) static NPM: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("install i in ins inst insta instal isnt isnta isntal isntall add", Install),
        named("install-test it link ln", Install),
        unnamed("ci clean-install ic install-clean isntall-clean install-ci-test cit clean-install-test sit", Install),
        named("update up upgrade udpate", Upgrade),
        named("uninstall un unlink remove rm r", Remove),
        unnamed("prune", Remove),
        asks("ls list la ll view v info show search find s se query fund outdated help help-search hlep doctor ping"),
        asks("prefix root bin whoami explain why get completion docs home bugs issues repo sbom stars"),
        ("audit", Sub(&[unnamed("fix", Upgrade), asks("signatures")], Query)),
        ("cache", Sub(&[asks("ls verify"), other("add clean rm clear")], Query)),
        ("config c", Sub(&[asks("get ls list"), other("set delete rm edit fix")], Query)),
        starts_package("exec x init create innit"),
        starts("run run-script rum urn test t tst start stop restart"),
        named("rebuild rb", Other),
        other("dedupe ddp find-dupes publish unpublish pack version verison shrinkwrap set login logout adduser"),
        other("add-user deprecate undeprecate dist-tag dist-tags edit explore hook org owner author profile pkg"),
        other("star unstar stage team token access diff trust"),
    ]),
    options: NODE_OPTIONS,
    form: Form::Npm,
    ..COMMAND
});

// npx and pnpx: run a package's program, fetched if need be.
pub(super) static NPX: Table = Table::new(Command {
    kind: Kind::Package,
    options: &[
        ("-p --package", Effect::Operand),
        ("-c --call --cache --registry --userconfig --prefix -w --workspace --loglevel -C --dir --reporter", Effect::Arg),
        ("-h --help -v --version", Effect::Query),
    ],
    form: Form::Npm,
    ..COMMAND
});

// Yarn's documentation, classic and later. Without a verb it installs; a word that is none is a script of the project.
pub(super) static YARN: Table = Table::new(Command {
    kind: Kind::Verbs(&[
        named("add link", Install),
        unnamed("install", Install),
        named("upgrade up upgrade-interactive", Upgrade),
        named("remove unlink", Remove),
        (
            "global",
            Sub(
                &[
                    named("add", Install),
                    named("upgrade upgrade-interactive", Upgrade),
                    named("remove", Remove),
                    asks("list ls bin dir"),
                ],
                Other,
            ),
        ),
        ("workspace", Skip),
        (
            "workspaces",
            Sub(&[asks("info list"), unnamed("focus", Install), starts("run foreach")], Other),
        ),
        ("set", Sub(&[other("version resolution")], Other)),
        ("plugin", Sub(&[other("import remove"), asks("list runtime check")], Query)),
        ("npm", Sub(&[asks("info whoami audit"), other("publish login logout tag")], Query)),
        ("config", Sub(&[asks("get list"), other("set unset delete")], Query)),
        ("cache", Sub(&[asks("list dir"), other("clean clear")], Other)),
        asks("list info why outdated audit licenses help bin versions check explain search constraints"),
        starts_package("dlx create"),
        starts("run exec node test start"),
        other("init pack publish rebuild dedupe autoclean import login logout owner policies prune self-update tag team"),
        other("unplug patch patch-commit stage generate-lock-entry version"),
    ]),
    options: &[
        ("--cwd --modules-folder --cache-folder --mutex --registry --preferred-cache-folder --global-folder", Effect::Arg),
        ("--link-folder --prefix --proxy --https-proxy --network-timeout --network-concurrency --use-yarnrc", Effect::Arg),
        ("--otp --mode --tag --scope --pattern", Effect::Arg),
        ("-h --help -v --version", Effect::Query),
    ],
    bare: Install,
    form: Form::Npm,
    ..COMMAND
});

const PNPM_VERBS: &[Verb] = &[
    named("add install-test it link ln", Install),
    unnamed("ci clean-install", Install),
    named("install i", Install),
    named("update up upgrade", Upgrade),
    named("remove rm uninstall un uni unlink dislink", Remove),
    unnamed("prune", Remove),
    unnamed("self-update", Upgrade),
    ("recursive multi m", Again),
    ("store", Sub(&[asks("status path"), other("prune add")], Query)),
    ("env", Sub(&[asks("list ls"), other("use add remove rm")], Query)),
    ("config c", Sub(&[asks("get list ls"), other("set delete")], Query)),
    asks("list ls ll la outdated why audit licenses root bin help doctor view info show search cat-file cat-index"),
    asks("find-hash peers"),
    starts_package("dlx create"),
    starts("exec run run-script test t tst start stop restart"),
    named("fetch rebuild rb", Other),
    other("import deploy dedupe setup server patch patch-commit patch-remove init publish pack approve-builds"),
    other("ignored-builds version"),
];

// pnpm's documentation, "CLI commands".
pub(super) static PNPM: Table = Table::new(Command {
    kind: Kind::Verbs(PNPM_VERBS),
    options: &[
        (
            "-C --dir -F --filter --filter-prod --reporter --store-dir --virtual-store-dir --registry",
            Effect::Arg,
        ),
        (
            "--loglevel --lockfile-dir --modules-dir --network-concurrency --global-dir --global-bin-dir",
            Effect::Arg,
        ),
        (
            "--fetch-retries --fetch-timeout --workspace-concurrency --package-import-method --config-dir",
            Effect::Arg,
        ),
        (
            "--child-concurrency --cpu --os --libc --changed-files-ignore-pattern --test-pattern --depth",
            Effect::Arg,
        ),
        ("-h --help -v --version", Effect::Query),
        ("--lockfile-only", Effect::Other),
    ],
    form: Form::Npm,
    ..COMMAND
});

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
