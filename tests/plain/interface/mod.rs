//! The built library through its C interface, driven by a small engine: what it exports, and what it answers.

mod execs;
mod files;
mod told;

use testkit::host;
use testkit::host::{library, Host};

/// A container that the manifest describes, as Docker names its control group.
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// One that it does not.
const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
/// A thread id above the largest that Linux gives (`PID_MAX_LIMIT`, 4194304).
const TID: i64 = 5_000_000;

const FIELDS: &[&str] = &[
    "container_id",
    "container_age",
    "process_role",
    "container_drifts",
    "manifest_state",
    "rootfs_readonly",
    "where",
    "container_short_id",
    "container_name",
    "container_kind",
    "pod_name",
    "pod_namespace",
    "pod_uid",
    "pod_label",
    "pod_annotation",
    "workload",
    "image_repository",
    "image_tag",
    "host_name",
    "process_name",
    "process_parent",
    "process_uid",
    "process_user",
    "image",
    "image_id",
    "image_digest",
    "image_pinned",
    "image_approved",
    "runtime_overrides",
    "entrypoint_match",
    "env_added",
    "env_changed",
    "env_risky",
    "port_declared",
    "port",
    "port_scope",
    "port_main",
    "port_new",
    "peer_expected",
    "peer_baseline",
    "peer_new",
    "peer",
    "peer_direction",
    "peer_name",
    "name_watch",
    "image_has_file",
    "file_path",
    "file_new_path",
    "file_change",
    "file_origin",
    "file_kind",
    "file_package",
    "file_writer",
    "file_writer_pid",
    "file_writer_name",
    "file_writer_parent",
    "file_writer_uid",
    "file_was",
    "file_count",
    "file_sensitive",
    "file_provenance",
    "file_during",
    "file_work",
    "file_content",
    "file_content_of",
    "volume_kind",
    "library_watch",
    "process_cmdline",
    "injection",
    "binary_origin",
    "binary_package",
    "binary_layer",
    "binary_sha256",
    "binary_traits",
    "binary_writer",
    "binary_provenance",
    "binary_during",
    "binary_work",
    "binary_content",
    "binary_content_of",
    "process_work",
    "binary_pending",
    "binary_runs",
    "binary_repeated",
    "script_path",
    "script_origin",
    "script_source",
    "piped_from",
    "piped_into",
    "argument_path",
    "argument_origin",
    "script_package",
    "script_writer",
    "script_provenance",
    "script_during",
    "script_work",
    "script_content",
    "script_content_of",
    "script_runs",
    "script_repeated",
    "pkg_manager",
    "pkg_action",
    "pkg_names",
    "pkg_role",
    "pkg_hooks",
    "pkg_followed",
    "pkg_effect",
    "pkg_added",
    "pkg_removed",
    "pkg_upgraded",
    "pkg_reinstalled",
    "pkg_bundled",
    "pkg_root",
    "pkg_command",
    "pkg_pcommand",
    "pkg_ancestors",
    "pkg_uid",
    "event.type",
    "event.check",
    "event.container_id",
    "event.image",
    "event.path",
    "event.change",
    "event.origin",
    "event.kind",
    "event.package",
    "event.content",
    "event.content_of",
    "event.work",
    "event.reported",
    "event.port",
    "event.port_scope",
    "event.port_main",
    "event.env_names",
    "event.env_risky",
    "event.before_start",
    "event.detail",
    "event.expected",
    "event.actual",
    "lost",
    "lost_count",
];

fn group(id: &str) -> String {
    format!("/docker/{id}")
}

/// An engine with the test image's manifest for the containers whose id matches.
fn start(containers: &str) -> (Host, tempfile::TempDir) {
    let dir = host::no_host();
    let manifest = host::manifest(dir.path());
    (Host::start(&host::config(dir.path(), &manifest, containers)), dir)
}

fn answers(host: &mut Host, event: &falco_plugin_runner::Event) -> Vec<(&'static str, Option<String>)> {
    // The node's name does not depend on the event, and labels want a key.
    let fields = FIELDS.iter().filter(|field| !["host_name", "pod_label", "pod_annotation"].contains(*field));
    fields.map(|field| (*field, host.text(event, field))).collect()
}

/// These fields of an event are answered so.
fn assert_answers(
    host: &mut Host,
    event: &falco_plugin_runner::Event,
    wants: &[(&str, Option<&str>)],
    case: &str,
) {
    for (field, want) in wants {
        assert_eq!(host.text(event, field).as_deref(), *want, "{case}: {field}");
    }
}

#[test]
fn names_versions_and_subscriptions() {
    let library = library::open();
    let api = library::functions(&library);
    assert_eq!(library::text(api.get_name), "drift");
    assert_eq!(library::text(api.get_required_api_version), "3.11.0", "Falco 0.41");
    assert_eq!(
        library::event_schema_version(&library).as_deref(),
        Some("4.0.0"),
        "else libs 0.22 refuse it live"
    );
    assert_eq!(library::text(api.get_version), env!("CARGO_PKG_VERSION"));
    assert_eq!(library::text(api.__bindgen_anon_2.get_extract_event_sources), r#"["drift","syscall"]"#);
    assert_eq!(library::text(api.__bindgen_anon_3.get_parse_event_sources), r#"["syscall"]"#);
    assert_eq!(library::text(api.__bindgen_anon_4.get_async_event_sources), r#"["syscall"]"#);
    let own = [
        "binary",
        "file",
        "secret",
        "library",
        "code",
        "injection",
        "container",
        "packages",
        "peer",
        "port",
        "lost",
        "environment",
    ];
    let own = own.map(|name| format!(r#""drift_{name}""#)).join(",");
    assert_eq!(library::text(api.__bindgen_anon_4.get_async_events), format!("[{own}]"));

    let every: Vec<u16> = vec![];
    assert_eq!(library::codes(api.__bindgen_anon_2.get_extract_event_types), every, "fields on any event");
    let mut parsed = library::codes(api.__bindgen_anon_3.get_parse_event_types);
    parsed.sort_unstable();
    // procexit; clone, fork, vfork; execve; execveat; clone3; async. Any other would switch a syscall on.
    assert_eq!(parsed, [3, 186, 223, 225, 227, 293, 307, 327, 331, 335, 402]);
    // Events of the source are the plugin's own, with an id that is free for private use.
    assert_eq!(library::text(api.__bindgen_anon_1.get_event_source), "drift");
    // SAFETY: it needs no instance.
    let id = unsafe { api.__bindgen_anon_1.get_id.unwrap()() };
    assert!((1_073_741_824..=2_147_483_647).contains(&id));
    assert!(api.__bindgen_anon_5.capture_open.is_none());
}

#[test]
fn the_schema_lists_the_fields() {
    let schema: serde_json::Value =
        serde_json::from_str(&library::text(library::api().__bindgen_anon_2.get_fields)).unwrap();
    let fields = schema.as_array().unwrap();
    let names: Vec<String> = fields
        .iter()
        .map(|f| f["name"].as_str().unwrap().strip_prefix("drift.").unwrap().to_owned())
        .collect();
    assert_eq!(names, FIELDS);
    for field in fields {
        assert!(!field["desc"].as_str().unwrap().is_empty());
        let needs_key = field["name"] == "drift.pod_label" || field["name"] == "drift.pod_annotation";
        let keyed = needs_key || field["name"] == "drift.image_has_file";
        assert_eq!(field["arg"]["isKey"].as_bool(), keyed.then_some(true), "{field}");
        assert_eq!(field["arg"]["isRequired"] == true, needs_key, "{field}");
    }
}
