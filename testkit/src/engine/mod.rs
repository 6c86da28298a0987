//! A real engine to load the plugin into: Falco, sysdig, or Debian testing's sysdig unpacked beside the
//! build.
//!
//! Looked for in this order: `DRIFT_ENGINE` and `FALCO_BIN` (binaries that must do), `falco` in PATH,
//! `sysdig` in PATH, then Debian testing's package ([`Engine::debian`]). One found in PATH whose libsinsp is
//! too old is passed over.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{anyhow, bail, Context, Result};

mod event;
mod falco;
mod provision;
mod sources;
mod sysdig;

pub use event::Event;
pub use falco::FalcoAlert;

/// The oldest libsinsp that reads the shipped captures (their README: recorded with libs 0.23.2).
pub const MIN_LIBS: (u32, u32, u32) = (0, 23, 0);

/// The first Falco with these libs.
const MIN_FALCO: (u32, u32, u32) = (0, 43, 0);

/// Which program an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Falco: evaluates a rules file by itself; gives alerts, not fields.
    Falco,
    /// sysdig: gives the fields of the events that pass a filter.
    Sysdig,
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Falco, else sysdig, else Debian's sysdig.
    Any,
    /// Only Falco: `FALCO_BIN` or PATH.
    Falco,
    /// sysdig: `DRIFT_ENGINE` (when it is no falco), PATH, else Debian's.
    Sysdig,
    /// This binary; one whose name starts with `falco` is Falco.
    Path(PathBuf),
}

/// A capture to replay, and what with.
#[derive(Debug, Clone)]
pub struct Replay<'a> {
    /// The plugin's shared library, loaded under the name `drift`. `None`: the engine's own fields only.
    pub plugin: Option<&'a Path>,
    /// The plugin's `init_config` as YAML, as a user writes it below that key; empty for none.
    pub init_config: &'a str,
    /// The capture (scap).
    pub capture: &'a Path,
}

/// What a replay gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// The events that passed the filter, in order.
    pub events: Vec<Event>,
    /// How many events the capture has.
    pub total: u64,
}

/// An engine that was found and runs.
#[derive(Debug, Clone)]
pub struct Engine {
    kind: Kind,
    /// The program and the arguments that always come first (a loader and its library path).
    command: Vec<OsString>,
    version: String,
    libs: String,
}

impl Engine {
    /// Finds an engine.
    ///
    /// # Errors
    /// A binary that was named does not run or is too old, or nothing was found and Debian's sysdig could not
    /// be unpacked; the error says what to do.
    pub fn find(choice: &Choice) -> Result<Engine> {
        let named = |variable: &str| std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Choice::Path(path) = choice {
            return Self::named(path, "the engine given");
        }
        let wants = |path: &Path| match choice {
            Choice::Falco => kind_of(path) == Kind::Falco,
            Choice::Sysdig => kind_of(path) == Kind::Sysdig,
            _ => true,
        };
        if let Some(path) = named("DRIFT_ENGINE").filter(|p| wants(p)) {
            return Self::named(&path, "DRIFT_ENGINE");
        }
        if *choice != Choice::Sysdig {
            if let Some(path) = named("FALCO_BIN") {
                return Self::probe(Kind::Falco, vec![path.clone().into()])
                    .with_context(|| format!("FALCO_BIN={}", path.display()));
            }
            if let Some(engine) = in_path("falco").and_then(|p| Self::probe(Kind::Falco, vec![p.into()]).ok())
            {
                return Ok(engine);
            }
        }
        if *choice == Choice::Falco {
            bail!(
                "no falco with libs {} or later: install Falco or set FALCO_BIN to its binary",
                dotted(MIN_LIBS)
            );
        }
        if let Some(engine) = in_path("sysdig").and_then(|p| Self::probe(Kind::Sysdig, vec![p.into()]).ok()) {
            return Ok(engine);
        }
        Self::debian()
    }

    /// The program and the arguments that always come first (a loader and its library path).
    pub fn command(&self) -> Vec<PathBuf> {
        self.command.iter().map(PathBuf::from).collect()
    }

    /// A sysdig, for tests that ask for fields: [`Engine::find`] with [`Choice::Sysdig`].
    ///
    /// # Errors
    /// As [`Engine::find`].
    pub fn sysdig() -> Result<Engine> {
        Self::find(&Choice::Sysdig)
    }

    /// Debian testing's sysdig, unpacked into the target folder when it is not there yet.
    ///
    /// # Errors
    /// The package could not be downloaded, unpacked or started.
    pub fn debian() -> Result<Engine> {
        let command = provision::ensure(&crate::target_dir().join("engine")).context(
            "no engine: set DRIFT_ENGINE to a sysdig 0.41 (or falco 0.43) binary or later, or fix this",
        )?;
        Self::probe(Kind::Sysdig, command)
    }

    fn named(path: &Path, why: &str) -> Result<Engine> {
        Self::probe(kind_of(path), vec![path.into()]).with_context(|| format!("{why} is {}", path.display()))
    }

    /// Asks a binary for its versions.
    fn probe(kind: Kind, command: Vec<OsString>) -> Result<Engine> {
        let mut engine = Engine { kind, command, version: String::new(), libs: String::new() };
        let version = engine.run(&[OsStr::new("--version")])?;
        let (version, libs) = match kind {
            Kind::Falco => (after(&version, "Falco version:"), after(&version, "Libs version:")),
            Kind::Sysdig => {
                let libs = engine.run(&[OsStr::new("--libs-version")])?;
                (after(&version, "sysdig version"), after(&libs, "falcosecurity/libs version"))
            }
        };
        engine.version = version.ok_or_else(|| anyhow!("its --version names no version"))?;
        engine.libs = libs.ok_or_else(|| anyhow!("it does not tell its libs version"))?;
        let libs = parse_version(&engine.libs)
            .ok_or_else(|| anyhow!("libs version {:?} is no version", engine.libs))?;
        // A Falco built with libs from a tree of one's own calls them 0.0.0-local: then its own version
        // tells.
        let local = kind == Kind::Falco && libs == (0, 0, 0);
        if local && parse_version(&engine.version).is_some_and(|falco| falco >= MIN_FALCO) {
            return Ok(engine);
        }
        if libs < MIN_LIBS {
            bail!("its libs are {}; {} or later is needed", engine.libs, dotted(MIN_LIBS));
        }
        Ok(engine)
    }

    /// Falco or sysdig.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Name and versions in one phrase: `sysdig 0.41.4 (libsinsp 0.23.2)`.
    pub fn describe(&self) -> String {
        let name = match self.kind {
            Kind::Falco => "falco",
            Kind::Sysdig => "sysdig",
        };
        format!("{name} {} (libsinsp {})", self.version, self.libs)
    }

    /// Replays `capture` through the plugin and gives `fields` of each event that passes `filter` (empty:
    /// all). A shorthand for [`Engine::replay`].
    ///
    /// # Errors
    /// As [`Engine::replay`].
    pub fn fields(
        &self,
        plugin: &Path,
        init_config_yaml: &str,
        capture: &Path,
        filter: &str,
        fields: &[&str],
    ) -> Result<Vec<Event>> {
        let replay = Replay { plugin: Some(plugin), init_config: init_config_yaml, capture };
        Ok(self.replay(&replay, filter, fields)?.events)
    }

    /// Replays a capture and gives `fields` of each event that passes `filter`. The filter is applied once
    /// the event was parsed, as Falco applies its rules. Bytes that are no UTF-8 come as U+FFFD, as in
    /// Falco's JSON.
    ///
    /// # Errors
    /// The engine is no sysdig, or it refused the plugin, its configuration, the capture, the filter or a
    /// field: its message is in the error.
    pub fn replay(&self, replay: &Replay, filter: &str, fields: &[&str]) -> Result<Replayed> {
        if self.kind != Kind::Sysdig {
            bail!("{} gives alerts, not fields: use Engine::sysdig()", self.describe());
        }
        sysdig::replay(self, replay, filter, fields)
    }

    /// Replays a capture through Falco with a rules file and gives its alerts in the order of events.
    ///
    /// # Errors
    /// The engine is no Falco, or it refused something: its message is in the error.
    pub fn falco_alerts(&self, replay: &Replay, rules: &Path) -> Result<Vec<FalcoAlert>> {
        if self.kind != Kind::Falco {
            bail!("{} is no Falco", self.describe());
        }
        falco::replay(self, replay, rules)
    }

    /// Runs the engine; stdout as text.
    fn run(&self, arguments: &[&OsStr]) -> Result<String> {
        let output = self.output(arguments)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn output(&self, arguments: &[&OsStr]) -> Result<Output> {
        let (program, first) = self.command.split_first().ok_or_else(|| anyhow!("no engine command"))?;
        let output = Command::new(program)
            .args(first)
            .args(arguments)
            // The engine's own libraries and the plugin given, nothing that the caller's environment adds.
            .env_remove("LD_LIBRARY_PATH")
            .env_remove("SYSDIG_PLUGIN_DIR")
            .env_remove("SYSDIG_CHISEL_DIR")
            .output()
            .with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = if said.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { said };
            bail!("{} ended with {}: {}", program.to_string_lossy(), output.status, said.trim());
        }
        Ok(output)
    }
}

fn kind_of(path: &Path) -> Kind {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if name.starts_with("falco") {
        Kind::Falco
    } else {
        Kind::Sysdig
    }
}

/// The executable `name` in PATH.
fn in_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The first word after `label` in a program's output.
fn after(text: &str, label: &str) -> Option<String> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// Reads `0.23.2`, `0.23.2+repack`, `0.24.0-rc1`: the numbers up to what is none.
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let numbers = text.split(['+', '-']).next()?;
    let mut parts = numbers.split('.').map(|p| p.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
}

fn dotted(version: (u32, u32, u32)) -> String {
    format!("{}.{}.{}", version.0, version.1, version.2)
}

/// Writes `falco.yaml` into a folder: a configuration that loads the plugin, for Falco and for sysdig.
///
/// # Errors
/// The plugin was not built, or the file cannot be written.
pub fn write_config(dir: &Path, init_config: &str) -> Result<PathBuf> {
    let path = dir.join("falco.yaml");
    std::fs::write(&path, plugin_config(&crate::plugin_library()?, init_config)?)?;
    Ok(path)
}

/// The `plugins:` part of a Falco configuration, which sysdig's `--plugin-config-file` reads too.
fn plugin_config(plugin: &Path, init_config: &str) -> Result<String> {
    let path = std::fs::canonicalize(plugin).with_context(|| format!("plugin {}", plugin.display()))?;
    let path = path.to_str().ok_or_else(|| anyhow!("plugin path {} is not UTF-8", path.display()))?;
    // A JSON string is a YAML string: any path is safe in it.
    let mut yaml = format!("plugins:\n  - name: drift\n    library_path: {}\n", serde_json::to_string(path)?);
    if !init_config.trim().is_empty() {
        yaml.push_str("    init_config:\n");
        for line in init_config.lines() {
            yaml.push_str(&format!("      {line}\n"));
        }
    }
    yaml.push_str("load_plugins: [drift]\n");
    Ok(yaml)
}

#[cfg(test)]
mod tests;
