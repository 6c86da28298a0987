//! The command lines of Python's package managers, from their manuals.

use crate::command::manager::names::Form;
use crate::command::manager::table::{
    asks, named, other, starts, starts_package, unnamed, Command, Does, Effect, Kind, Operands, Options,
    Table, COMMAND,
};
use crate::command::manager::Action;
use Action::{Install, Other, Query, Remove, Upgrade};
use Does::{Act, Sub};
use Operands::First;

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
