//! Fields of the package manager at work.

use super::definition::{field, FieldDef, FieldType, Question};
use super::value::Value;

/// Name of the field that says whether the end of an installation is told.
pub(super) const FOLLOWED: &str = "drift.pkg_followed";

/// The fields, in the order in which they are listed.
pub(super) const FIELDS: &[FieldDef] = &[
    field(
        "drift.pkg_manager",
        FieldType::String,
        "Package manager that the process is, or that its nearest ancestor in the container is: `apt`, `dpkg`, `apk`, \
         `yum`, `dnf`, `microdnf`, `rpm`, `zypper`, `pacman`, `pip`, `uv`, `poetry`, `conda`, `npm`, `yarn`, `pnpm`, \
         `gem`, `bundler`, `cargo`, `go`, `composer`, `cpan` or `luarocks`. Known by its program and arguments. On \
         drift_packages: the outermost one at work, or `unknown`: no package manager of the image has done it. On drift_file: the one that installed the file, as the package \
         databases say once it has ended; else see drift.file_during.",
        manager,
    ),
    field(
        "drift.pkg_action",
        FieldType::String,
        "What that package manager was asked to do: `install`, `upgrade`, `remove`, `refresh` (the index), `query` \
         (nothing changes; simulations too) or `other`. On drift_packages: what was done; `install` also where packages were \
         installed again.",
        action,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_names",
            FieldType::String,
            "Packages that it was asked to act on, without versions and paths; at most 64, none for queries. On \
             drift_packages: all that differ by now; where none does, those that were asked for.",
            names,
        )
    },
    field(
        "drift.pkg_role",
        FieldType::String,
        "The process's part in it: `manager` (the package manager itself), `nested` (one that is part of a change that \
         another one makes, as dpkg under apt-get) or `child` (any other process below it).",
        role,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_hooks",
            FieldType::String,
            "Options on its command line by which it runs something else, or works on another root: `--pre-invoke`, \
             `DPkg::Pre-Invoke`, `--root`, `--script-shell` and the like, without values.",
            hooks,
        )
    },
    field(
        FOLLOWED,
        FieldType::Bool,
        "Whether drift tells what comes of it by the event drift_packages, once the package manager has ended; then its \
         start need not alert. False in replays, for images that are not on disk, and for package managers whose \
         databases drift does not read; and on drift_packages where the replay has told the start.",
        followed,
    ),
    field(
        "drift.pkg_effect",
        FieldType::String,
        "On drift_packages, what the container's package databases say by now: `changed`; `none` (it failed, or there \
         was nothing to do); `bundled` (nothing but the image's own wheels, in a new virtual environment); `partial:<why>` (more than what is listed); `unknown:<why>`.",
        of_event,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_added",
            FieldType::String,
            "On drift_packages: packages that are new in the container, as `name=version`.",
            of_event,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_removed",
            FieldType::String,
            "On drift_packages: packages that are gone, as `name=version`.",
            of_event,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_upgraded",
            FieldType::String,
            "On drift_packages: packages in another version, later or earlier, as `name=old->new`.",
            of_event,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_reinstalled",
            FieldType::String,
            "On drift_packages: packages that were installed again, or whose records were written, in the same version, \
             as `name=version`.",
            of_event,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_bundled",
            FieldType::String,
            "On drift_packages: packages of a new virtual environment that are, file by file, the image's own wheels, as \
             `name=version`.",
            of_event,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_root",
            FieldType::String,
            "On drift_packages: where packages of languages have changed: the virtual environment, or else the directory \
             (`site-packages`, `node_modules`).",
            of_event,
        )
    },
    field(
        "drift.pkg_command",
        FieldType::String,
        "Command line of the outermost package manager at work; on drift_packages, where none is, of what wrote to the \
         package database.",
        command,
    ),
    field(
        "drift.pkg_pcommand",
        FieldType::String,
        "Command line of that process's parent.",
        parent_command,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_ancestors",
            FieldType::String,
            "Names of that process's ancestors, the parent first.",
            ancestors,
        )
    },
    field(
        "drift.pkg_uid",
        FieldType::Uint64,
        "Effective user id that it runs with, as the host counts.",
        user,
    ),
];

fn manager<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let work = q.engine.package_work();
    Value::or_absent(work.map(|w| Value::text(q.arena, w.invocation.manager.as_str())))
}

fn action<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let work = q.engine.package_work();
    Value::or_absent(work.map(|w| Value::text(q.arena, w.invocation.action.as_str())))
}

fn names<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let Some(work) = q.engine.package_work() else { return Value::Absent };
    let arena = q.arena;
    let names = work.invocation.names.iter();
    let items = arena.alloc_slice_fill_iter(names.map(|n| &*arena.alloc_slice_copy(n.as_bytes())));
    if items.is_empty() {
        Value::Absent
    } else {
        Value::List(items)
    }
}

fn hooks<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match q.engine.package_work() {
        Some(work) if !work.invocation.hooks.is_empty() => {
            Value::list(q.arena, work.invocation.hooks.iter().map(|name| name.as_bytes()))
        }
        _ => Value::Absent,
    }
}

fn role<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let work = q.engine.package_work();
    Value::or_absent(work.map(|w| Value::text(q.arena, w.role.as_str())))
}

fn followed<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let work = q.engine.package_work();
    Value::or_absent(work.map(|w| Value::Bool(w.followed)))
}

fn command<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let agent = q.engine.package_agent();
    // Empty where the engine does not know the process.
    Value::or_absent(agent.filter(|a| !a.command.is_empty()).map(|a| Value::text(q.arena, &a.command)))
}

fn parent_command<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let agent = q.engine.package_agent();
    let command = agent.as_ref().and_then(|a| a.parent_command.as_deref());
    Value::or_absent(command.map(|c| Value::text(q.arena, c)))
}

fn ancestors<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    match q.engine.package_agent() {
        Some(agent) => Value::list(q.arena, agent.ancestors.iter().map(|name| name.as_bytes())),
        None => Value::Absent,
    }
}

fn user<'a>(q: &mut Question<'_, 'a>) -> Value<'a> {
    let agent = q.engine.package_agent();
    Value::or_absent(agent.and_then(|a| a.user).map(|user| Value::U64(user.into())))
}

/// Told by drift's own events only, whose fields come from their payload.
fn of_event<'a>(_: &mut Question<'_, 'a>) -> Value<'a> {
    Value::Absent
}
