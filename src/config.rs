//! `init_config`: what a user writes, and what it means once checked.
//!
//! Invariant: bad configuration is refused at start with the key, the value and what is allowed. Raw types
//! carry the documentation that the README's table and the plugin's schema are made from.

use drift_core::container::registry::Settings;
use drift_formats::ports::Ports;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Configuration of drift, under `init_config` in falco.yaml.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// Where the host's root file system is seen. Default: the environment variable HOST_ROOT, else `/`.
    pub host_root: Option<String>,
    /// Prebuilt image manifests, for what overlayfs does not show: other storage drivers, replays.
    pub manifests: Option<Vec<RawManifest>>,
    /// Comparison of files with the image's content.
    pub compare: Option<RawCompare>,
    /// Bounds of what is kept in memory, shared by all instances in the process.
    pub cache: Option<RawCache>,
    /// How much of each queue and table one container may fill: one part in this many, 1 to 1024. What it
    /// loses by that is reported by the event `drift_lost`. Default: 16.
    pub container_parts: Option<u64>,
    /// The background indexer of image layers.
    pub indexer: Option<RawIndexer>,
    /// How long the same program or script in the same container is one alert, in seconds, 1 to 86400: fields
    /// `drift.binary_repeated` and `drift.script_repeated`. `every`: each run is one. Default: 3600.
    pub repeat: Option<Repeat>,
    /// Changes of files.
    pub files: Option<RawFiles>,
    /// Whether libraries are looked at when they are mapped to be executed, and not when they are opened.
    /// More certain, and more costly: the engine then traces every mmap(2), by the rule `Drift library
    /// mapping watch`. Default: false.
    pub confirm_mmap: Option<bool>,
    /// Whether drift looks at each file that is opened for writing, for drift_file and drift_secret, and
    /// remembers who wrote it. `false` saves it where no rule is about files, and leaves those that are
    /// opened for writing to rules that ask for drift.file_change on the call. Default: true.
    pub watch_files: Option<bool>,
    /// Whether drift looks for libraries that processes load. `false` saves it where no rule is about
    /// drift_library. Default: true.
    pub watch_libraries: Option<bool>,
    /// Whether drift looks for code that running interpreters read: included, imported, required or sourced
    /// files. `false` saves it where no rule is about drift_code. Default: true.
    pub watch_code: Option<bool>,
    /// Globs on paths in containers: what changes there is not compared with the image. `*` matches across
    /// directories.
    pub ignore: Option<Vec<String>>,
    /// Approved images: files, or folders of files, with a reference a line, or (`.yaml`, `.yml`, `.json`)
    /// Kubernetes manifests of any kind that has containers. Read again when they change. Default: none, and
    /// `drift.image_approved` is absent.
    pub approved_images: Option<Vec<String>>,
    /// Ports that any container may listen on, such as `9100/tcp` or `30000-32767/udp`.
    pub allowed_ports: Option<Vec<String>>,
    /// Whom containers may talk to.
    pub network: Option<RawNetwork>,
    /// Keys of annotations of pods that alerts may show as `drift.pod_annotation[key]`, at most 32. Default:
    /// none.
    pub pod_annotations: Option<Vec<String>>,
    /// Directories that relative layer names are looked up in, where the mount itself gives no absolute one.
    /// Default: those of Docker and podman.
    pub storage_roots: Option<Vec<String>>,
    /// What is logged, in Falco's log: `off`, `error`, `warn`, `info`, or `debug` (each verdict step by step;
    /// set `libs_logger.severity: debug` in falco.yaml as well). Default: the environment variable DRIFT_LOG,
    /// else `info`.
    pub log_level: Option<String>,
}

/// What the engine hands over: [`RawConfig`], or null.
///
/// Falco turns `init_config: {}` into JSON `null` (nlohmann's decoding of an empty YAML map), and so every
/// empty map or list below it; all of them mean "nothing said". An error names the key it is about: what
/// serde says alone is a line and a column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InitConfig(pub RawConfig);

impl<'de> Deserialize<'de> for InitConfig {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let read: Result<Option<RawConfig>, _> = serde_path_to_error::deserialize(input);
        read.map(|config| Self(config.unwrap_or_default())).map_err(|e| {
            let key = e.path().to_string();
            D::Error::custom(match key.as_str() {
                "." | "?" => format!("init_config: {}", e.inner()),
                _ => format!("init_config.{}: {}", key.trim_start_matches("?."), e.inner()),
            })
        })
    }
}

impl JsonSchema for InitConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        RawConfig::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = RawConfig::json_schema(generator);
        // Not `anyOf`: the engine's validator then names the key that is wrong.
        schema.insert("type".into(), serde_json::json!(["object", "null"]));
        schema
    }
}

/// One prebuilt manifest and the containers it describes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct RawManifest {
    /// An mtree(5) file (plain or gzip), an OCI image layout directory, or a docker-archive `.tar`.
    pub path: String,
    /// Globs on the container id.
    pub containers: Vec<String>,
    /// Globs on the image reference.
    pub images: Vec<String>,
}

/// How files are compared with the image's.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct RawCompare {
    /// Largest file compared on the spot; larger ones are compared in the background and reported by the
    /// event `drift_binary`. At most 16MiB. Default: 1MiB.
    pub inline_max: Option<Size>,
    /// Largest file compared in the background; larger ones stay `image_unverified`. Default: 1GiB.
    pub background_max: Option<Size>,
}

/// Bounds of the process-wide cache.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct RawCache {
    /// Memory for layer indexes. Default: 256MiB.
    pub max_bytes: Option<Size>,
    /// Layers kept. Default: 4096.
    pub max_layers: Option<u64>,
    /// Verdicts kept. Default: 16384.
    pub max_verdicts: Option<u64>,
    /// Containers kept. Default: 1024.
    pub max_containers: Option<u64>,
    /// Threads whose answers are kept. Default: 16384.
    pub max_threads: Option<u64>,
}

/// The background indexer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct RawIndexer {
    /// Share of one CPU the indexer may use, in percent, 1 to 100. Default: 50.
    pub cpu_percent: Option<u64>,
    /// Most files in one layer; a larger layer is `partial`. Default: 5000000.
    pub max_files: Option<u64>,
}

/// Changes of files.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct RawFiles {
    /// Seconds between two events `drift_file` that tell the same change of the same path, and the longest
    /// wait for the last writer to close the file, 1 to 3600. Default: 30.
    pub interval_seconds: Option<u64>,
    /// Seconds in which the same change of the same path to the same content is reported once, 0 to 86400; 0:
    /// each time. Default: 3600.
    pub repeat_seconds: Option<u64>,
}

/// Baselines of the network.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct RawNetwork {
    /// Reviewed baselines: files, or folders of files, in YAML. Read again when they change. Default: none,
    /// and `drift.peer_expected` is `unknown`.
    pub baselines: Option<Vec<String>>,
    /// How long an image that no reviewed baseline speaks of is learned, as time in which containers of it
    /// run: `90m`, `24h`, `7d`. Default: nothing is learned.
    pub learning: Option<String>,
    /// The file that keeps what was learned, written by drift: an absolute path, in a directory that survives
    /// a restart.
    pub learned: Option<String>,
}

/// How often the same thing is reported: once in so many seconds, or `every` time.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number of seconds, or every")]
#[schemars(inline)]
pub enum Repeat {
    /// Seconds.
    Seconds(u64),
    /// `every`.
    Text(String),
}

impl Repeat {
    fn interval(&self, key: &'static str) -> Result<std::time::Duration, ConfigError> {
        match self {
            Self::Seconds(n @ 1..=86_400) => Ok(std::time::Duration::from_secs(*n)),
            Self::Text(text) if text == "every" => Ok(std::time::Duration::ZERO),
            Self::Seconds(n) => Err(ConfigError::new(key, &n.to_string(), "1 to 86400, or every")),
            Self::Text(text) => Err(ConfigError::new(key, text, "1 to 86400, or every")),
        }
    }
}

/// A size in bytes: a number, or text such as `512KiB`, `256MiB`, `1GiB`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number of bytes, or text such as 256MiB")]
#[schemars(inline)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// A number with a binary unit.
    Text(String),
}

impl Size {
    fn bytes(&self, key: &'static str) -> Result<u64, ConfigError> {
        let text = match self {
            Self::Bytes(n) => return Ok(*n),
            Self::Text(text) => text,
        };
        let refuse = || ConfigError::new(key, text, "a number of bytes, or one with KiB, MiB or GiB");
        let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
            Some(at) => text.split_at(at),
            None => (text.as_str(), ""),
        };
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let unit = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(refuse()),
        };
        number.checked_mul(unit).ok_or_else(refuse)
    }
}

/// What was wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("init_config.{key}: {value:?} is not allowed; expected {expected}")]
pub struct ConfigError {
    key: String,
    value: String,
    expected: String,
}

impl ConfigError {
    /// A value that is not allowed, and what is.
    pub fn new(key: &str, value: &str, expected: &str) -> Self {
        Self { key: key.into(), value: value.into(), expected: expected.into() }
    }
}

/// Checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the host's root file system is seen.
    pub host_root: PathBuf,
    /// Manifests with the containers they describe, in the order given: the first that matches counts.
    pub manifests: Vec<ManifestConfig>,
    /// Largest file compared on the event thread, bytes.
    pub inline_max: u64,
    /// Largest file compared in the background, bytes.
    pub background_max: u64,
    /// Bounds of the cache.
    pub cache: CacheLimits,
    /// A container's share of each queue and table: one part in so many.
    pub container_parts: usize,
    /// Share of one CPU for the indexer, percent.
    pub cpu_percent: u8,
    /// Most files in one layer.
    pub max_files: u64,
    /// How long the same program or script is not reported again; zero: each run is.
    pub repeat: std::time::Duration,
    /// Least time between two reports of the same change, and longest wait for a file's last writer.
    pub file_interval: std::time::Duration,
    /// How long the same content at the same path is not reported again.
    pub file_repeat: std::time::Duration,
    /// Whether libraries are looked at when they are mapped, and not when they are opened.
    pub confirm_mmap: bool,
    /// Whether each file that is opened for writing is looked at.
    pub watch_files: bool,
    /// Whether libraries are looked for.
    pub watch_libraries: bool,
    /// Whether code that is read is looked for.
    pub watch_code: bool,
    /// Paths in containers whose changes are not compared.
    pub ignored_files: globset::GlobSet,
    /// Annotations of pods that are kept.
    pub pod_annotations: Vec<String>,
    /// Where relative layer names are looked up.
    pub storage_roots: Vec<PathBuf>,
    /// What is logged.
    pub log_level: log::LevelFilter,
    /// Files and folders with approved images.
    pub approved_images: Vec<PathBuf>,
    /// Ports that any container may listen on.
    pub allowed_ports: Vec<Ports>,
    /// Files and folders with reviewed baselines of the network.
    pub network_baselines: Vec<PathBuf>,
    /// What is learned of the network; `None`: nothing.
    pub learning: Option<Learning>,
}

impl Config {
    /// What the registry of containers needs.
    pub fn registry(&self) -> Settings {
        Settings { max_containers: self.cache.max_containers, storage_roots: self.storage_roots.clone() }
    }
}

/// Bounds of the process-wide cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of layer indexes.
    pub max_bytes: u64,
    /// Layers.
    pub max_layers: usize,
    /// Verdicts.
    pub max_verdicts: usize,
    /// Containers.
    pub max_containers: usize,
    /// Threads.
    pub max_threads: usize,
}

/// What is learned of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learning {
    /// How long an image is learned.
    pub period: std::time::Duration,
    /// Where it is kept.
    pub path: PathBuf,
}

/// A manifest to load and what it applies to.
#[derive(Debug, Clone)]
pub struct ManifestConfig {
    /// Key for messages, such as `manifests[0].path`.
    pub key: String,
    /// File or directory.
    pub path: PathBuf,
    /// Globs on the container id.
    pub containers: globset::GlobSet,
    /// Globs on the image reference.
    pub images: globset::GlobSet,
}

/// Storage roots of Docker and podman.
const STORAGE_ROOTS: &[&str] = &["/var/lib/docker/overlay2", "/var/lib/containers/storage/overlay"];

/// Largest value of `compare.inline_max`: about 10 ms of reading on the event thread.
const MAX_INLINE: u64 = 16 << 20;

impl TryFrom<RawConfig> for Config {
    type Error = ConfigError;

    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        let host_root = match &raw.host_root {
            Some(path) => path.clone(),
            None => std::env::var("HOST_ROOT").ok().filter(|v| !v.is_empty()).unwrap_or_else(|| "/".into()),
        };
        if !host_root.starts_with('/') {
            return Err(ConfigError::new("host_root", &host_root, "an absolute path"));
        }
        let (compare, cache) = (raw.compare.unwrap_or_default(), raw.cache.unwrap_or_default());
        let (indexer, manifests) = (raw.indexer.unwrap_or_default(), raw.manifests.unwrap_or_default());
        let network = raw.network.unwrap_or_default();
        let files = raw.files.unwrap_or_default();
        let inline_max = size("compare.inline_max", &compare.inline_max, 1 << 20)?;
        if inline_max > MAX_INLINE {
            return Err(ConfigError::new("compare.inline_max", &inline_max.to_string(), "at most 16MiB"));
        }
        let cpu_percent = number("indexer.cpu_percent", indexer.cpu_percent, 50, 1, 100)?;
        Ok(Self {
            host_root: host_root.into(),
            manifests: manifests.iter().enumerate().map(|(i, m)| manifest(i, m)).collect::<Result<_, _>>()?,
            inline_max,
            background_max: size("compare.background_max", &compare.background_max, 1 << 30)?,
            cache: CacheLimits {
                max_bytes: size("cache.max_bytes", &cache.max_bytes, 256 << 20)?,
                max_layers: count("cache.max_layers", cache.max_layers, 4096)?,
                max_verdicts: count("cache.max_verdicts", cache.max_verdicts, 16_384)?,
                max_containers: count("cache.max_containers", cache.max_containers, 1024)?,
                max_threads: count("cache.max_threads", cache.max_threads, 16_384)?,
            },
            container_parts: usize::try_from(number("container_parts", raw.container_parts, 16, 1, 1024)?)
                .unwrap_or(1),
            cpu_percent: u8::try_from(cpu_percent).unwrap_or(100),
            max_files: number("indexer.max_files", indexer.max_files, 5_000_000, 1, 100_000_000)?,
            repeat: raw.repeat.as_ref().unwrap_or(&Repeat::Seconds(3600)).interval("repeat")?,
            file_interval: std::time::Duration::from_secs(number(
                "files.interval_seconds",
                files.interval_seconds,
                30,
                1,
                3600,
            )?),
            file_repeat: std::time::Duration::from_secs(number(
                "files.repeat_seconds",
                files.repeat_seconds,
                3600,
                0,
                86_400,
            )?),
            confirm_mmap: raw.confirm_mmap.unwrap_or(false),
            watch_files: raw.watch_files.unwrap_or(true),
            watch_libraries: raw.watch_libraries.unwrap_or(true),
            watch_code: raw.watch_code.unwrap_or(true),
            ignored_files: globs("ignore", &raw.ignore.unwrap_or_default())?,
            pod_annotations: annotations(raw.pod_annotations.unwrap_or_default())?,
            storage_roots: match &raw.storage_roots {
                Some(roots) => absolute("storage_roots", roots)?,
                None => STORAGE_ROOTS.iter().map(PathBuf::from).collect(),
            },
            log_level: log_level(raw.log_level.as_deref())?,
            approved_images: absolute("approved_images", &raw.approved_images.unwrap_or_default())?,
            allowed_ports: raw.allowed_ports.iter().flatten().map(|p| port(p)).collect::<Result<_, _>>()?,
            learning: learning(&network)?,
            network_baselines: absolute("network.baselines", &network.baselines.unwrap_or_default())?,
        })
    }
}

fn annotations(keys: Vec<String>) -> Result<Vec<String>, ConfigError> {
    const MAX: usize = 32;
    let expected = "at most 32 keys of annotations, such as example.com/owner";
    match keys.iter().find(|key| key.is_empty() || key.contains(char::is_whitespace)) {
        Some(key) => Err(ConfigError::new("pod_annotations", key, expected)),
        None if keys.len() > MAX => {
            Err(ConfigError::new("pod_annotations", &keys.len().to_string(), expected))
        }
        None => Ok(keys),
    }
}

fn log_level(raw: Option<&str>) -> Result<log::LevelFilter, ConfigError> {
    let of_environment = || std::env::var("DRIFT_LOG").ok().filter(|level| !level.is_empty());
    let (key, level) = match raw {
        Some(level) => ("log_level", level.to_owned()),
        // Set for one run, without a change of files.
        None => ("log_level, by DRIFT_LOG", of_environment().unwrap_or_else(|| "info".into())),
    };
    match level.as_str() {
        "off" => Ok(log::LevelFilter::Off),
        "error" => Ok(log::LevelFilter::Error),
        "warn" => Ok(log::LevelFilter::Warn),
        "info" => Ok(log::LevelFilter::Info),
        "debug" => Ok(log::LevelFilter::Debug),
        _ => Err(ConfigError::new(key, &level, "off, error, warn, info or debug")),
    }
}

fn learning(raw: &RawNetwork) -> Result<Option<Learning>, ConfigError> {
    let path = raw.learned.clone().unwrap_or_default();
    match &raw.learning {
        None if path.is_empty() => Ok(None),
        None => Err(ConfigError::new("network.learned", &path, "network.learning beside it, such as 24h")),
        Some(_) if !path.starts_with('/') || path.ends_with('/') => {
            let expected = "the absolute path of a file that drift may write, beside network.learning";
            Err(ConfigError::new("network.learned", &path, expected))
        }
        Some(text) => {
            let expected = "a time from 1s to 365d, such as 90m or 24h";
            let period =
                duration(text).ok_or_else(|| ConfigError::new("network.learning", text, expected))?;
            Ok(Some(Learning { period, path: path.into() }))
        }
    }
}

/// A whole number with a unit.
fn duration(text: &str) -> Option<std::time::Duration> {
    const YEAR: u64 = 365 * 86_400;
    let unit = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let (number, seconds) =
        unit.iter().find_map(|(name, seconds)| Some((text.strip_suffix(*name)?, seconds)))?;
    let total = number.parse::<u64>().ok()?.checked_mul(*seconds)?;
    (1..=YEAR).contains(&total).then(|| std::time::Duration::from_secs(total))
}

fn port(text: &str) -> Result<Ports, ConfigError> {
    let expected = "a port or range with its protocol, such as 9100/tcp or 30000-32767/udp";
    Ports::parse(text).ok_or_else(|| ConfigError::new("allowed_ports", text, expected))
}

fn absolute(key: &str, paths: &[String]) -> Result<Vec<PathBuf>, ConfigError> {
    match paths.iter().find(|p| !p.starts_with('/')) {
        Some(bad) => Err(ConfigError::new(key, bad, "absolute paths")),
        None => Ok(paths.iter().map(PathBuf::from).collect()),
    }
}

fn size(key: &'static str, value: &Option<Size>, default: u64) -> Result<u64, ConfigError> {
    value.as_ref().map_or(Ok(default), |v| v.bytes(key))
}

fn number(key: &str, value: Option<u64>, default: u64, min: u64, max: u64) -> Result<u64, ConfigError> {
    match value.unwrap_or(default) {
        n if (min..=max).contains(&n) => Ok(n),
        n => Err(ConfigError::new(key, &n.to_string(), &format!("a number from {min} to {max}"))),
    }
}

fn count(key: &str, value: Option<u64>, default: u64) -> Result<usize, ConfigError> {
    number(key, value, default, 1, 10_000_000).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

fn manifest(i: usize, raw: &RawManifest) -> Result<ManifestConfig, ConfigError> {
    let key = format!("manifests[{i}].path");
    if raw.path.is_empty() {
        return Err(ConfigError::new(&key, "", "a file or directory"));
    }
    if raw.containers.is_empty() && raw.images.is_empty() {
        let expected = "globs in `containers` or `images` (use [\"*\"] for all)";
        return Err(ConfigError::new(&format!("manifests[{i}]"), &raw.path, expected));
    }
    Ok(ManifestConfig {
        key,
        path: raw.path.clone().into(),
        containers: globs(&format!("manifests[{i}].containers"), &raw.containers)?,
        images: globs(&format!("manifests[{i}].images"), &raw.images)?,
    })
}

fn globs(key: &str, patterns: &[String]) -> Result<globset::GlobSet, ConfigError> {
    let mut set = globset::GlobSetBuilder::new();
    for pattern in patterns {
        let glob = globset::Glob::new(pattern)
            .map_err(|e| ConfigError::new(key, pattern, &format!("a glob ({})", e.kind())))?;
        set.add(glob);
    }
    set.build().map_err(|e| ConfigError::new(key, &patterns.join(", "), &format!("globs ({e})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Config, String> {
        let raw: InitConfig = serde_json::from_str(json).map_err(|e| e.to_string())?;
        Config::try_from(raw.0).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_hold() {
        for nothing in ["{}", "null", r#"{"cache":null,"manifests":null,"compare":null,"indexer":null}"#] {
            parse(nothing).unwrap();
        }
        let c = parse("{}").unwrap();
        assert_eq!(c.inline_max, 1 << 20);
        assert_eq!(c.cache.max_bytes, 256 << 20);
        assert_eq!(c.cache.max_layers, 4096);
        assert!(c.manifests.is_empty());
    }

    #[test]
    fn sizes_take_numbers_and_units() {
        for (json, want) in
            [("7", 7), ("\"512KiB\"", 512 << 10), ("\"1 MiB\"", 1 << 20), ("\"2GiB\"", 2 << 30)]
        {
            let c = parse(&format!("{{\"cache\":{{\"max_bytes\":{json}}}}}")).unwrap();
            assert_eq!(c.cache.max_bytes, want, "{json}");
        }
    }

    #[test]
    fn times_take_units() {
        for (text, want) in [("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("1s", 1)] {
            let c =
                parse(&format!("{{\"network\":{{\"learning\":\"{text}\",\"learned\":\"/a/b\"}}}}")).unwrap();
            assert_eq!(c.learning.unwrap().period.as_secs(), want, "{text}");
        }
    }

    #[test]
    fn bad_values_are_refused_with_key_and_reason() {
        for (json, parts) in [
            (r#"{"host_rot":"/"}"#, vec!["host_rot", "host_root"]),
            (r#"{"allowed_ports":["x/tcp"]}"#, vec!["allowed_ports", "x/tcp", "9100/tcp"]),
            (r#"{"network":{"baselines":["a.yaml"]}}"#, vec!["network.baselines", "a.yaml", "absolute"]),
            (r#"{"network":{"learning":"24h"}}"#, vec!["network.learned", "absolute path of a file"]),
            (r#"{"network":{"learned":"/a"}}"#, vec!["network.learned", "/a", "network.learning beside it"]),
            (r#"{"network":{"learning":"soon","learned":"/a"}}"#, vec!["network.learning", "soon", "24h"]),
            (r#"{"network":{"learning":"0h","learned":"/a"}}"#, vec!["network.learning", "0h", "1s to 365d"]),
            (
                r#"{"network":{"learning":"99999999999999999999d","learned":"/a"}}"#,
                vec!["network.learning", "365d"],
            ),
            (r#"{"approved_images":["list.txt"]}"#, vec!["approved_images", "list.txt", "absolute"]),
            (r#"{"host_root":7}"#, vec!["expected a string"]),
            (r#"{"host_root":"x"}"#, vec!["host_root", "\"x\"", "absolute"]),
            (r#"{"cache":{"max_bytes":"1 parsec"}}"#, vec!["cache.max_bytes", "1 parsec", "MiB"]),
            (r#"{"cache":{"max_layers":0}}"#, vec!["cache.max_layers", "\"0\"", "from 1"]),
            (r#"{"compare":{"inline_max":"1GiB"}}"#, vec!["compare.inline_max", "16MiB"]),
            (r#"{"indexer":{"cpu_percent":101}}"#, vec!["indexer.cpu_percent", "101", "1 to 100"]),
            (r#"{"files":{"interval_seconds":0}}"#, vec!["files.interval_seconds", "\"0\"", "1 to 3600"]),
            (r#"{"manifests":[{"path":"/x"}]}"#, vec!["manifests[0]", "containers"]),
            (r#"{"manifests":[{"containers":["*"]}]}"#, vec!["manifests[0].path", "file or directory"]),
            (
                r#"{"manifests":[{"path":"/x","containers":["[a"]}]}"#,
                vec!["manifests[0].containers", "[a", "glob"],
            ),
            (r#"{"ignore":["{a"]}"#, vec!["init_config.ignore", "{a", "glob"]),
            (r#"{"pod_annotations":["a b"]}"#, vec!["pod_annotations", "a b", "keys of annotations"]),
            (r#"{"storage_roots":["rel"]}"#, vec!["storage_roots", "rel", "absolute"]),
        ] {
            let err = parse(json).unwrap_err();
            for part in parts {
                assert!(err.contains(part), "{json}: {err:?} lacks {part:?}");
            }
        }
    }
}
