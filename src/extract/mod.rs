//! Fields: one table of definitions, each with its type, its documentation and the function that answers it.
//!
//! Invariant: no I/O here. Functions ask the [`Resolver`] and put its answers into values.

mod binary;
mod container;
mod environment;
mod file;
mod image;
mod library;
mod package;
mod payload;
mod peer;
mod port;
mod script;
mod source_event;
pub mod value;

pub(crate) use payload::{
    BINARY_EVENT, CONTAINER_EVENT, FILE_EVENT, LIBRARY_EVENT, PACKAGES_EVENT, PEER_EVENT,
};

use crate::event::raw::{code, SyscallEvent};
use crate::resolver::{Resolver, ThreadReader};
use bumpalo::Bump;
use falco_plugin::api::ss_plugin_extract_field;
use falco_plugin::tables::LazyTableReader;
use serde_json::json;
use std::ffi::{CStr, CString};
use std::sync::OnceLock;
use value::Value;

/// Type of a field, as the engine names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    String,
    /// Yes or no.
    Bool,
    /// A number.
    Uint64,
    /// A duration in nanoseconds.
    Reltime,
}

impl FieldType {
    /// The engine's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bool => "bool",
            Self::Uint64 => "uint64",
            Self::Reltime => "reltime",
        }
    }
}

/// Whether a field takes an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// None.
    None,
    /// A key in brackets, which may be left out.
    OptionalKey,
}

/// The event source that a field is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `syscall`.
    Syscall,
    /// Drift's own, `drift`.
    Drift,
}

/// The definition of one field.
pub struct FieldDef {
    /// Full name, `drift.` included.
    pub name: &'static str,
    /// Type of its value, or of each value of a list.
    pub field_type: FieldType,
    /// Whether it gives a list.
    pub is_list: bool,
    /// Its argument.
    pub argument: Argument,
    /// The event source it is for; on events of another it is absent.
    pub source: Source,
    /// What it means.
    pub description: &'static str,
    /// Answers it.
    pub answer: for<'a> fn(&mut Question<'_, 'a>) -> Value<'a>,
}

impl std::fmt::Debug for FieldDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// One question: a field on an event.
pub struct Question<'q, 'a> {
    /// Who knows.
    pub resolver: &'q mut Resolver,
    /// The event.
    pub event: &'q SyscallEvent<'q>,
    /// The engine's threads.
    pub reader: ThreadReader<'q>,
    /// The field's argument.
    pub argument: Option<&'q [u8]>,
    /// Where values live until the engine has read them.
    pub arena: &'a Bump,
}

impl std::fmt::Debug for Question<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("event", self.event).finish_non_exhaustive()
    }
}

const fn field(
    name: &'static str,
    field_type: FieldType,
    description: &'static str,
    answer: for<'a> fn(&mut Question<'_, 'a>) -> Value<'a>,
) -> FieldDef {
    let (is_list, argument, source) = (false, Argument::None, Source::Syscall);
    FieldDef { name, field_type, is_list, argument, source, description, answer }
}

/// A field of the source `drift`: text, from the payload.
const fn of_source(name: &'static str, description: &'static str) -> FieldDef {
    FieldDef { source: Source::Drift, ..field(name, FieldType::String, description, source_event::absent) }
}

/// All fields, in the order that the engine numbers them.
pub static FIELDS: &[FieldDef] = &[
    field(
        "drift.container_id",
        FieldType::String,
        "Full id of the container, found without any other plugin. Absent on the host.",
        container::id,
    ),
    field(
        "drift.container_age",
        FieldType::Reltime,
        "Time since the container's init process started.",
        container::age,
    ),
    field(
        "drift.container_drifts",
        FieldType::Uint64,
        "Drifted files, programs and packages seen in the container so far.",
        container::drifts,
    ),
    field(
        "drift.manifest_state",
        FieldType::String,
        "How much is known of the container's image: `ready`, `building`, `partial:<why>` or `unavailable:<why>`.",
        container::manifest_state,
    ),
    field(
        "drift.rootfs_readonly",
        FieldType::Bool,
        "Whether the container's root file system is mounted read-only.",
        container::rootfs_readonly,
    ),
    field(
        "drift.image",
        FieldType::String,
        "Reference of the container's image, as it was deployed.",
        image::reference,
    ),
    field(
        "drift.image_id",
        FieldType::String,
        "Digest of the image's configuration, which engines call the image's id: `sha256:…`.",
        image::id,
    ),
    field(
        "drift.image_digest",
        FieldType::String,
        "Digest of the image's manifest: the one in the reference, else that of the index or manifest that the image was \
         pulled by.",
        image::digest,
    ),
    field(
        "drift.image_pinned",
        FieldType::Bool,
        "Whether the reference carries a digest. Absent where the reference is not known.",
        image::pinned,
    ),
    field(
        "drift.image_approved",
        FieldType::String,
        "What the configured `approved_images` say: `approved`; `unapproved` (the repository is listed, this image is \
         not); `unlisted` (the repository is not listed); `unknown`. Absent where nothing is configured.",
        image::approved,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.runtime_overrides",
            FieldType::String,
            "What the deployment changed against the image and the engines' defaults: `command`, `entrypoint`, `user`, \
             `privileged`, `host_network`, `host_pid`, `cap_add:NAME`, `hostpath_rw:PATH`.",
            image::overrides,
        )
    },
    field(
        "drift.entrypoint_match",
        FieldType::Bool,
        "On the exec by which the container's first process starts its program, and on drift_container: whether that is \
         what the deployment (or the image) declares. Absent where it is not known.",
        image::entrypoint,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.env_added",
            FieldType::String,
            "Names (never values) of the environment variables that the process was started with and that neither \
             deployment nor image declare. What shells set themselves does not count.",
            environment::added,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.env_changed",
            FieldType::String,
            "Names (never values) of declared environment variables that the process was started with another value of.",
            environment::changed,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.env_risky",
            FieldType::String,
            "Those of drift.env_added and drift.env_changed that make programs load or run other code, or send their \
             traffic elsewhere, and that the parent was not started with: `LD_*`, `*_PRELOAD`, `PYTHONPATH`, \
             `NODE_OPTIONS`, `BASH_ENV`, proxies and the like; `PATH` where it gained a directory that is relative, \
             writable for all, on a volume or tmpfs, or not in the image.",
            environment::risky,
        )
    },
    field(
        "drift.port_declared",
        FieldType::Bool,
        "On bind of a TCP or UDP socket in a container, and on listen: whether the port is one that the image exposes, the \
         deployment declares or the configuration's `allowed_ports` have. Absent for ports that the kernel chooses, and \
         where the declared ports are not known.",
        port::declared,
    ),
    field(
        "drift.port_new",
        FieldType::Bool,
        "On the same calls: whether it is the first of the container for that port and protocol that a rule asks about, so that \
         a rule can alert once.",
        port::is_new,
    ),
    field(
        "drift.peer_expected",
        FieldType::String,
        "On connect and accept in a container: the other side against the baseline of the container's image: `expected`, `unexpected`, `learning` (the image is being learned) or `unknown` (there is no \
         baseline, or the image is not known). Absent for this machine itself, and for the container's nameservers.",
        peer::expected,
    ),
    field(
        "drift.peer_baseline",
        FieldType::String,
        "Which baseline that is: `reviewed` (a file of the configuration) or `learned`. Absent where there is none.",
        peer::baseline,
    ),
    field(
        "drift.peer_new",
        FieldType::Bool,
        "Whether it is the first call of the container with that peer that a rule asks about, or the first since \
         drift.peer_expected changed.",
        peer::is_new,
    ),
    field(
        "drift.peer",
        FieldType::String,
        "The other side's address, and port and protocol of the server: `192.0.2.7:443/tcp`. Of inbound connections the \
         client's address and the container's own port.",
        peer::shown,
    ),
    field(
        "drift.peer_direction",
        FieldType::String,
        "Who began: `outbound` (the container) or `inbound`.",
        peer::direction,
    ),
    field(
        "drift.peer_name",
        FieldType::String,
        "Domain name that one of the container's nameservers gave the other side's address for. Seen while a rule asks for \
         drift.name_watch.",
        peer::name,
    ),
    field(
        "drift.name_watch",
        FieldType::Bool,
        "`true` on recvfrom and recvmsg in a container that bring an answer of one of its nameservers; absent otherwise. \
         Asking for it has drift remember the names.",
        peer::watch,
    ),
    FieldDef {
        argument: Argument::OptionalKey,
        ..field(
            "drift.image_has_file",
            FieldType::Bool,
            "Whether the image has this path (links are followed inside the image). Without an argument: the \
             executable, on execve and execveat, or the file that the call is about.",
            file::image_has_file,
        )
    },
    field(
        "drift.file_path",
        FieldType::String,
        "Path that the event is about, absolute inside the container: the executable, on execve, execveat and \
         drift_binary; the file, on calls that open one for writing, make, remove, rename or link one, or change its \
         mode or owner, and on drift_file, where links in it are resolved.",
        file::path,
    ),
    field(
        "drift.file_new_path",
        FieldType::String,
        "New name of a renamed file.",
        file::new_path,
    ),
    field(
        "drift.file_change",
        FieldType::String,
        "What became of that file. On the calls what they tell: `created`, `opened` (for writing), `deleted`, `renamed` \
         or `metadata`. On drift_file, once the last writer has closed it and its content was compared with the \
         image's: `created`, `modified`, `deleted`, `renamed`, or `metadata` where it gained privileges only. Absent for \
         files in /proc, /sys and /dev. Asking for it on a call is what starts the comparison.",
        file::change,
    ),
    field(
        "drift.file_origin",
        FieldType::String,
        "Origin of that file as it is found, with the names of drift.binary_origin.",
        file::origin,
    ),
    field(
        "drift.file_kind",
        FieldType::String,
        "Kind of that file: `elf_exec`, `elf_shared` or `script` by its first bytes, `package_db` or `config` by its \
         path, else `other`.",
        file::kind,
    ),
    field(
        "drift.file_package",
        FieldType::String,
        "As drift.binary_package, of that file. On drift_file: in the image.",
        file::package,
    ),
    field(
        "drift.file_writer",
        FieldType::String,
        "As drift.binary_writer, of that file. On drift_file: command line of the process that changed it last.",
        file::writer,
    ),
    field(
        "drift.file_writer_pid",
        FieldType::Uint64,
        "On drift_file: process id of the process that changed the file last, as the host counts.",
        file::writer_pid,
    ),
    field(
        "drift.file_provenance",
        FieldType::String,
        "As drift.binary_provenance, of that file.",
        file::provenance,
    ),
    field(
        "drift.file_work",
        FieldType::String,
        "As drift.binary_work, of that file. On drift_file: of the process that changed it last.",
        file::work,
    ),
    field(
        "drift.volume_kind",
        FieldType::String,
        "Kind of volume that the file, the script, or else the executable, lies on: `secret`, `configmap`, `projected`, \
         `emptydir`, `hostpath`, `pvc`, `image`, `tmpfs` or `bind`. Absent on the root file system.",
        file::volume_kind,
    ),
    field(
        "drift.library_watch",
        FieldType::Bool,
        "Whether the call opens a file the way a dynamic loader does (with confirm_mmap: maps one to be executed) that may \
         not be the image's. Asking for it has drift find out, and tell by the event drift_library.",
        library::watch,
    ),
    field(
        "drift.process_cmdline",
        FieldType::String,
        "On drift_library: command line of the process that loaded the library, as it was then.",
        library::process_cmdline,
    ),
    field(
        "drift.binary_origin",
        FieldType::String,
        "Origin of the process's executable: `image`, `image_touched`, `image_modified`, `image_unverified`, `added`, \
         `volume`, `image_volume`, `tmpfs`, `memfd`, `runtime`, `host` or `unknown`.",
        binary::origin,
    ),
    field(
        "drift.binary_package",
        FieldType::String,
        "Package that owns the executable, as `dpkg:coreutils` or `apk:busybox`: in the image, or as a package manager of the \
         image installed it in the container since. Absent where no package owns it.",
        binary::package,
    ),
    field(
        "drift.binary_layer",
        FieldType::String,
        "Image layer that has the executable's path: its digest, or its number counted from the base layer, 0.",
        binary::layer,
    ),
    field(
        "drift.binary_sha256",
        FieldType::String,
        "SHA-256 of the executable, lower-case hex; computed off the event thread, `unknown` until then.",
        binary::sha256,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.binary_traits",
            FieldType::String,
            "What the executable is: `static`, `stripped`, `packed`, `go`, `foreign_arch`, `script`, `setuid`, \
             `setgid`, `filecaps`. On drift_file: which of the last three the file has gained.",
            binary::traits,
        )
    },
    field(
        "drift.binary_writer",
        FieldType::String,
        "Command line of the process that wrote the executable last, where it is not as in the image; `unknown` where \
         nobody was seen to. Writers are seen while a rule asks for drift.file_change. On drift_file: of the process that \
         changed the file last.",
        binary::writer,
    ),
    field(
        "drift.binary_provenance",
        FieldType::String,
        "Where the executable comes from: `image`, `package:<manager>` (a package manager of the image wrote it), \
         `written` (another process did), `volume`, `memory` or `unknown`.",
        binary::provenance,
    ),
    field(
        "drift.binary_work",
        FieldType::String,
        "Work of the image's own that wrote the executable: `build:<tool>` (a build, by its outermost tool, such as \
         `build:make`), or `start` (the container's entry point, a script of the image, in the first minute). Programs and \
         scripts of the image, and what they made, alone count. Absent where no such work did.",
        binary::work,
    ),
    field(
        "drift.binary_runs",
        FieldType::Uint64,
        "How often the executable has been run in the container, this time included, as far as was seen and is \
         remembered. Absent where it is the image's, or not known what it is.",
        binary::runs,
    ),
    field(
        "drift.script_path",
        FieldType::String,
        "Path of the script that an interpreter was started on, by shebang or argument; links resolved where the \
         container can be looked at.",
        script::path,
    ),
    field(
        "drift.script_origin",
        FieldType::String,
        "Origin of that script, with the names of drift.binary_origin.",
        script::origin,
    ),
    field(
        "drift.script_package",
        FieldType::String,
        "As drift.binary_package, of that script.",
        script::package,
    ),
    field(
        "drift.script_writer",
        FieldType::String,
        "As drift.binary_writer, of that script.",
        script::writer,
    ),
    field(
        "drift.script_provenance",
        FieldType::String,
        "As drift.binary_provenance, of that script.",
        script::provenance,
    ),
    field(
        "drift.script_work",
        FieldType::String,
        "As drift.binary_work, of that script.",
        script::work,
    ),
    field(
        "drift.script_runs",
        FieldType::Uint64,
        "As drift.binary_runs, of that script.",
        script::runs,
    ),
    field(
        "drift.pkg_manager",
        FieldType::String,
        "Package manager that the process is, or that its nearest ancestor in the container is: `apt`, `dpkg`, `apk`, \
         `yum`, `dnf`, `microdnf`, `rpm`, `zypper`, `pacman`, `pip`, `uv`, `poetry`, `conda`, `npm`, `yarn`, `pnpm`, \
         `gem`, `bundler`, `cargo`, `go`, `composer`, `cpan` or `luarocks`. Known by its program and arguments. On \
         drift_packages: the outermost one at work, or `unknown`: no package manager of the image has done it.",
        package::manager,
    ),
    field(
        "drift.pkg_action",
        FieldType::String,
        "What that package manager was asked to do: `install`, `upgrade`, `remove`, `refresh` (the index), `query` \
         (nothing changes; simulations too) or `other`. On drift_packages: what was done; `install` also where packages were \
         installed again.",
        package::action,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_names",
            FieldType::String,
            "Packages that it was asked to act on, without versions and paths; at most 64, none for queries. On \
             drift_packages: all that differ by now; where none does, those that were asked for.",
            package::names,
        )
    },
    field(
        "drift.pkg_role",
        FieldType::String,
        "The process's part in it: `manager` (the package manager itself), `nested` (one that is part of a change that \
         another one makes, as dpkg under apt-get) or `child` (any other process below it).",
        package::role,
    ),
    field(
        "drift.pkg_followed",
        FieldType::Bool,
        "Whether drift tells what comes of it by the event drift_packages, once the package manager has ended; then its \
         start need not alert. False in replays, for images that are not on disk, and for package managers whose \
         databases drift does not read.",
        package::followed,
    ),
    field(
        "drift.pkg_effect",
        FieldType::String,
        "On drift_packages, what the container's package databases say by now: `changed`; `none` (it failed, or there \
         was nothing to do); `partial:<why>` (more than what is listed); `unknown:<why>`.",
        package::of_event,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_added",
            FieldType::String,
            "On drift_packages: packages that are new in the container, as `name=version`.",
            package::of_event,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_removed",
            FieldType::String,
            "On drift_packages: packages that are gone, as `name=version`.",
            package::of_event,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_upgraded",
            FieldType::String,
            "On drift_packages: packages in another version, later or earlier, as `name=old->new`.",
            package::of_event,
        )
    },
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_reinstalled",
            FieldType::String,
            "On drift_packages: packages that were installed again, or whose records were written, in the same version, \
             as `name=version`.",
            package::of_event,
        )
    },
    field(
        "drift.pkg_command",
        FieldType::String,
        "Command line of the outermost package manager at work; on drift_packages, where none is, of what wrote to the \
         package database.",
        package::command,
    ),
    field(
        "drift.pkg_pcommand",
        FieldType::String,
        "Command line of that process's parent.",
        package::parent_command,
    ),
    FieldDef {
        is_list: true,
        ..field(
            "drift.pkg_ancestors",
            FieldType::String,
            "Names of that process's ancestors, the parent first.",
            package::ancestors,
        )
    },
    field(
        "drift.pkg_uid",
        FieldType::Uint64,
        "Effective user id that it runs with, as the host counts.",
        package::user,
    ),
    of_source(
        "drift.event.type",
        "What the event tells: a finding, `file`, `process`, `package`, `port`, `environment`, `image` or `rootfs` (it is \
         not as the image has it, or not as declared); `incomplete` (not everything could be compared); `resolved` (what \
         was told before is gone); `started` (the source is open and waits for a rule).",
    ),
    of_source(
        "drift.event.check",
        "The check that it comes from: `files`, `processes`, `packages`, `ports`, `environment`, `image` or `rootfs`.",
    ),
    of_source("drift.event.container_id", "Full id of the container."),
    of_source("drift.event.image", "The container's image, as deployed, where it is known."),
    of_source(
        "drift.event.path",
        "The file; of a process its executable, or the script that the image's interpreter runs; of a port and an \
         environment the program. Absolute in the container.",
    ),
    of_source(
        "drift.event.change",
        "How it differs. Of a file: `created`, `modified`, `metadata` (it gained privileges only), `deleted` or `renamed`; \
         of a package: `added`, `removed` or `upgraded` (any other version); of an image: `unapproved` or `unlisted`, as \
         drift.image_approved says.",
    ),
    of_source(
        "drift.event.origin",
        "Where the file or program comes from, with the names of drift.binary_origin.",
    ),
    of_source("drift.event.kind", "What the file is, with the names of drift.file_kind."),
    of_source(
        "drift.event.package",
        "The package that differs, as `dpkg:jq`; of a file the one that owns the path in the image.",
    ),
    of_source("drift.event.port", "The port that is listened on, as `8080/tcp`."),
    FieldDef {
        is_list: true,
        ..of_source(
            "drift.event.env_names",
            "Names (never values) of the environment variables of a program that are not declared, or declared with another \
             value; at most 64 of each.",
        )
    },
    FieldDef {
        is_list: true,
        ..of_source(
            "drift.event.env_risky",
            "Those of drift.event.env_names that are dangerous, as in drift.env_risky.",
        )
    },
    FieldDef {
        field_type: FieldType::Bool,
        ..of_source(
            "drift.event.before_start",
            "Of a file that is there, and of a process: whether it was changed, or started, before the source was opened, \
             as a rule before Falco was started.",
        )
    },
    of_source(
        "drift.event.detail",
        "More, in words: privileges gained, the path in the image of what was renamed, ids of processes, what could not be \
         compared.",
    ),
    of_source(
        "drift.event.expected",
        "As the image has it, or as declared: kind, mode, owner and size of a file, versions of a package, ports, or \
         `absent`.",
    ),
    of_source("drift.event.actual", "As it is, in the same words; of a port the addresses that it is bound to."),
];

/// Answers one request of the engine.
///
/// # Errors
/// The engine asked for a field that does not exist.
#[expect(unsafe_code, reason = "the engine's argument is a C string")]
pub fn answer(
    resolver: &mut Resolver,
    event: &SyscallEvent<'_>,
    reader: ThreadReader<'_>,
    request: &mut ss_plugin_extract_field,
    arena: &Bump,
) -> Result<(), anyhow::Error> {
    let def = FIELDS
        .get(request.field_id as usize)
        .ok_or_else(|| anyhow::anyhow!("field number {} does not exist", request.field_id))?;
    let argument = (request.arg_present != 0 && !request.arg_key.is_null()).then(|| {
        // SAFETY: the engine gives a NUL-terminated key that lives as long as the call (plugin_api.h).
        unsafe { CStr::from_ptr(request.arg_key) }.to_bytes()
    });
    let value = match event.async_payload() {
        _ if event.code == code::PLUGIN => source_event::value(def, event, arena),
        Some((name, data)) if payload::is_ours(name) => payload::value(def, data, arena),
        Some(_) => Value::Absent,
        None => (def.answer)(&mut Question { resolver, event, reader, argument, arena }),
    };
    value.write(request, arena);
    Ok(())
}

/// The definitions as the engine wants them: a JSON array (plugin_api.h, `get_fields`).
pub fn schema() -> &'static CStr {
    static SCHEMA: OnceLock<CString> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let fields: Vec<_> = FIELDS
            .iter()
            .map(|f| {
                let mut field = json!({
                    "name": f.name,
                    "type": f.field_type.as_str(),
                    "isList": f.is_list,
                    "desc": f.description,
                });
                if let (Argument::OptionalKey, Some(object)) = (f.argument, field.as_object_mut()) {
                    object.insert("arg".into(), json!({ "isKey": true }));
                }
                field
            })
            .collect();
        CString::new(serde_json::Value::from(fields).to_string()).unwrap_or_default()
    })
}

/// Makes a [`ThreadReader`].
pub fn reader<'a>(
    threads: Option<&'a crate::event::threads::Threads>,
    reader: &'a LazyTableReader<'a>,
) -> ThreadReader<'a> {
    ThreadReader { threads, reader }
}
