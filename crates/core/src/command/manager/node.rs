//! The command lines of Node.js's package managers, from their manuals.

use crate::command::manager::names::Form;
use crate::command::manager::table::{
    asks, named, other, starts, starts_package, unnamed, Command, Does, Effect, Kind, Options, Table, Verb,
    COMMAND,
};
use crate::command::manager::Action;
use Action::{Install, Other, Query, Remove, Upgrade};
use Does::{Again, Skip, Sub};

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

// Yarn's documentation, classic and later. Without a verb it installs; a word that is none is a script of the
// project.
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
