//! Programs of Falco's surroundings that tests use where they are to be had: falcosidekick, falcoctl, a
//! registry.
//!
//! Looked for in this order: the variable, PATH, `tools/bin` of cargo's target folder; else built there with
//! Go, once.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use testkit::skip::skip_optional;

/// A program, and the Go module that it is built from.
pub struct Tool {
    /// Its name, and that of the Go package.
    pub name: &'static str,
    /// The environment variable that names another one.
    pub variable: &'static str,
    /// What `go install` builds. falcosidekick's tags have no `v`.
    pub package: &'static str,
}

/// Sends Falco's alerts on.
pub const FALCOSIDEKICK: Tool = Tool {
    name: "falcosidekick",
    variable: "FALCOSIDEKICK_BIN",
    package: "github.com/falcosecurity/falcosidekick@2.34.1",
};

/// Pushes and installs Falco's artifacts.
pub const FALCOCTL: Tool =
    Tool { name: "falcoctl", variable: "FALCOCTL_BIN", package: "github.com/falcosecurity/falcoctl@v0.13.0" };

/// An OCI registry in memory.
pub const REGISTRY: Tool = Tool {
    name: "registry",
    variable: "REGISTRY_BIN",
    package: "github.com/google/go-containerregistry/cmd/registry@v0.22.1",
};

impl Tool {
    /// Finds or builds the program; says why it is not to be had.
    pub fn find(&self, test: &str) -> Option<PathBuf> {
        match self.look() {
            Ok(path) => Some(path),
            Err(why) => {
                skip_optional(test, &format!("no {}: {why} (set {})", self.name, self.variable));
                None
            }
        }
    }

    fn look(&self) -> Result<PathBuf, String> {
        if let Some(path) = std::env::var_os(self.variable).filter(|v| !v.is_empty()) {
            let path = PathBuf::from(path);
            return path.is_file().then(|| path.clone()).ok_or(format!("{} is not there", path.display()));
        }
        let folder = std::path::absolute(testkit::target_dir().join("tools/bin")).unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A `registry` of another project may be in PATH.
        let in_path = std::env::split_paths(&path).filter(|_| self.name != REGISTRY.name);
        if let Some(found) = in_path.chain([folder.clone()]).map(|f| f.join(self.name)).find(|p| p.is_file())
        {
            return Ok(found);
        }
        // Two tests must not build the same at once, and each more than once in vain.
        std::fs::create_dir_all(&folder).unwrap();
        let lock = std::fs::File::create(folder.join(format!(".{}.lock", self.name))).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let built = folder.join(self.name);
        if built.is_file() {
            return Ok(built);
        }
        // Past the test harness, which would hide it: whoever waits should know for what.
        let told =
            format!("building {} with Go, once, into {}: takes minutes\n", self.package, folder.display());
        let _ = std::io::stderr().write_all(told.as_bytes());
        let output = Command::new("go")
            .args(["install", self.package])
            .env("GOBIN", &folder)
            .env("GOFLAGS", "-trimpath")
            // Nobody is there to be asked.
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(std::process::Stdio::null())
            .current_dir(std::env::temp_dir())
            .output()
            .map_err(|_| "Go is not installed".to_owned())?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("go install {}: {}", self.package, text.lines().last().unwrap_or("failed")));
        }
        Ok(built)
    }
}
