//! What an image declares about how it is run: the OCI image configuration (image-spec, `config.md`).
//!
//! Invariant: the value of an environment variable can be compared, but not taken out, shown or logged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;

use crate::digest::{BadDigest, Digest};
use crate::path_key::value_key;

/// The parts of an image configuration that Drift judges by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Processor architecture in Go's spelling (`amd64`); empty where it is not given.
    pub architecture: String,
    /// `Entrypoint`; empty where there is none.
    pub entrypoint: Vec<String>,
    /// `Cmd`; empty where there is none.
    pub cmd: Vec<String>,
    /// `Env`, in order.
    pub env: Vec<EnvVar>,
    /// `ExposedPorts` as written (`8080/tcp`, `53/udp`, `80`).
    pub exposed_ports: BTreeSet<String>,
    /// `User` as written (`0:0`, `www-data`); empty for root.
    pub user: String,
    /// `WorkingDir`; empty for `/`.
    pub working_dir: String,
    /// `Labels`.
    pub labels: BTreeMap<String, String>,
    /// Paths of `Volumes`.
    pub volumes: BTreeSet<String>,
    /// Digests of the uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
}

/// One variable of `Env`. Of its value only a hash under the process's own random key is kept: it can be
/// compared by [`EnvVar::value_is`], not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvVar {
    name: String,
    value: u64,
    /// Hashes of the elements of a value that is a list: between colons, and between blanks.
    elements: Vec<u64>,
}

/// Most elements kept of one value.
const MAX_ELEMENTS: usize = 512;

impl EnvVar {
    /// Splits `NAME=value`; without `=` the value is empty.
    pub fn parse(text: &str) -> Self {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let is_list = |byte: u8| value.bytes().any(|b| b == byte);
        let of = |byte: u8| value.as_bytes().split(move |b| *b == byte).map(value_key);
        let elements = [b':', b' '].into_iter().filter(|byte| is_list(*byte)).flat_map(of);
        let elements = elements.take(MAX_ELEMENTS).collect();
        Self { name: name.to_owned(), value: value_key(value.as_bytes()), elements }
    }

    /// The variable's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the variable has this value.
    pub fn value_is(&self, actual: &[u8]) -> bool {
        self.value == value_key(actual)
    }

    /// Whether the value is this, or a list that has it: `/bin` of `/usr/bin:/bin`, `-Xmx1g` of `-Xss1m
    /// -Xmx1g`.
    pub fn lists(&self, element: &[u8]) -> bool {
        let key = value_key(element);
        self.value == key || self.elements.contains(&key)
    }
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

/// Why bytes are not an image configuration, or another declaration that may hold values.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, or a known field of another type. Carries the position only: the text may hold values.
    #[error("bad JSON, or not what it should be, at line {line}, column {column}")]
    Json {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// Another document than was looked for: another container's, an unknown version.
    #[error("not the record that was looked for")]
    Other,
    /// A `diff_id` that is no digest.
    #[error("rootfs.diff_ids: {0}")]
    Digest(#[from] BadDigest),
}

impl ConfigError {
    /// The place of an error, without its text.
    pub fn at(error: &serde_json::Error) -> Self {
        Self::Json { line: error.line(), column: error.column() }
    }
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    config: Option<RawRun>,
    rootfs: RawRootfs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawRun {
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

impl ImageConfig {
    /// Parses an image configuration blob; its size was bounded by the caller.
    ///
    /// # Errors
    /// [`ConfigError`]; its text never holds any of the document.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let raw: Raw = serde_json::from_slice(json).map_err(|e| ConfigError::at(&e))?;
        let run = raw.config.unwrap_or_default();
        let diff_ids = raw.rootfs.diff_ids.unwrap_or_default();
        Ok(Self {
            architecture: raw.architecture.unwrap_or_default(),
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default().iter().map(|e| EnvVar::parse(e)).collect(),
            exposed_ports: run.exposed_ports.unwrap_or_default().into_keys().collect(),
            user: run.user.unwrap_or_default(),
            working_dir: run.working_dir.unwrap_or_default(),
            labels: run.labels.unwrap_or_default(),
            volumes: run.volumes.unwrap_or_default().into_keys().collect(),
            diff_ids: diff_ids.iter().map(|d| Digest::parse(d)).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_specs_example() {
        // The example of image-spec's config.md, shortened.
        let json = br#"{
            "created": "2015-10-31T22:22:56.015925234Z", "architecture": "amd64", "os": "linux",
            "config": {
                "User": "alice",
                "ExposedPorts": { "8080/tcp": {} },
                "Env": ["PATH=/usr/bin:/bin", "FOO=oci_is_a=well_written_spec", "BARE"],
                "Entrypoint": ["/bin/my-app-binary"],
                "Cmd": ["--foreground", "--config"],
                "Volumes": { "/var/job-result-data": {}, "/var/log/my-app-logs": {} },
                "WorkingDir": "/home/alice",
                "Labels": { "com.example.project.git.url": "https://example.com/project.git" }
            },
            "rootfs": { "type": "layers", "diff_ids": [
                "sha256:c6f988f4874bb0add23a778f753c65efe992244e148a1d2ec2a8b664fb66bbd1"] },
            "history": [{ "created_by": "/bin/sh -c #(nop)" }]
        }"#;
        let config = ImageConfig::parse(json).unwrap();
        assert_eq!(config.architecture, "amd64");
        assert_eq!(config.entrypoint, ["/bin/my-app-binary"]);
        assert_eq!(config.cmd, ["--foreground", "--config"]);
        assert_eq!(config.env.iter().map(EnvVar::name).collect::<Vec<_>>(), ["PATH", "FOO", "BARE"]);
        assert!(
            config.env[1].value_is(b"oci_is_a=well_written_spec") && !config.env[1].value_is(b"oci_is_a")
        );
        assert!(config.env[2].value_is(b""));
        assert!(config.env[0].lists(b"/bin") && !config.env[0].lists(b"/usr") && !config.env[0].lists(b""));
        assert!(config.exposed_ports.contains("8080/tcp"));
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("alice", "/home/alice"));
        assert_eq!(config.volumes.len(), 2);
        assert_eq!(config.labels.len(), 1);
        assert_eq!(config.diff_ids.len(), 1);
        assert!(!format!("{config:?}").contains("well_written"));
    }

    #[test]
    fn nulls_and_absences_are_empty() {
        let config = ImageConfig::parse(
            br#"{"config":{"Env":null,"Entrypoint":null,"ExposedPorts":null,"Labels":null},"rootfs":{"diff_ids":null}}"#,
        );
        assert_eq!(config.unwrap(), ImageConfig::default());
        assert_eq!(ImageConfig::parse(br#"{"rootfs":{}}"#).unwrap(), ImageConfig::default());
    }

    #[test]
    fn errors_hold_no_values() {
        let err = ImageConfig::parse(br#"{"config":{"Env":"TOKEN=secret"},"rootfs":{}}"#).unwrap_err();
        assert!(!err.to_string().contains("secret"), "{err}");
        assert!(!format!("{err:?}").contains("secret"), "{err:?}");
        assert!(ImageConfig::parse(br#"{"rootfs":{"diff_ids":["md5:1"]}}"#)
            .unwrap_err()
            .to_string()
            .contains("md5:1"));
        assert!(ImageConfig::parse(b"{}").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(json in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ImageConfig::parse(&json);
        }
    }
}
