//! What the image's own programs do that brings new files about: building, and setting up at the start.
//!
//! Pure functions of paths: whether a program of that name is the image's is for the caller to find out. Anything else can
//! take any name.

/// Work of the image's own that a file was written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageWork {
    /// A build, by its outermost tool.
    Build(&'static str),
    /// The container's entry point, a script of the image, while the container starts.
    Start,
}

impl std::fmt::Display for ImageWork {
    /// The value of `drift.binary_work`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Build(tool) => write!(f, "build:{tool}"),
            Self::Start => f.write_str("start"),
        }
    }
}

/// Programs that compile, link, or run those that do. None that applications are run by: what descends from `npm start` is
/// no build.
const PROGRAMS: [&str; 45] = [
    "ar",
    "as",
    "bazel",
    "bmake",
    "buck2",
    "c++",
    "c89",
    "c99",
    "cargo",
    "cc",
    "cc1",
    "cc1plus",
    "clang",
    "clang++",
    "cmake",
    "collect2",
    "cpack",
    "ctest",
    "dotnet",
    "f951",
    "g++",
    "gcc",
    "gccgo",
    "gfortran",
    "ghc",
    "gmake",
    "go",
    "javac",
    "ld",
    "ld.bfd",
    "ld.gold",
    "ld.lld",
    "link",
    "lld",
    "lto-wrapper",
    "lto1",
    "make",
    "mold",
    "ninja",
    "objcopy",
    "ranlib",
    "rustc",
    "samu",
    "strip",
    "tcc",
];

/// The same, where they are scripts.
const SCRIPTS: [&str; 17] = [
    "ant",
    "autoconf",
    "autoreconf",
    "c89-gcc",
    "c99-gcc",
    "cmake",
    "config.status",
    "configure",
    "dh",
    "dpkg-buildpackage",
    "gradle",
    "gradlew",
    "libtool",
    "meson",
    "mvn",
    "scons",
    "sbt",
];

/// The build tool that a process is; `exe` is the path of its executable, `script` the script that an interpreter was
/// started on.
pub fn build_tool(exe: &[u8], script: Option<&[u8]>) -> Option<&'static str> {
    let (name, tools): (&[u8], &[&'static str]) = match script {
        Some(script) => (base_name(script), &SCRIPTS),
        None => (plain_name(base_name(exe)), &PROGRAMS),
    };
    tools.iter().find(|tool| tool.as_bytes() == name).copied()
}

/// Whether an executable is one of the small programs that containers are started by, to look after the real one.
pub fn is_init(exe: &[u8]) -> bool {
    matches!(
        base_name(exe),
        b"tini" | b"tini-static" | b"docker-init" | b"podman-init" | b"catatonit" | b"dumb-init" | b"init"
    )
}

/// Whether an executable is a shell, which entry points are run by.
pub fn is_shell(exe: &[u8]) -> bool {
    matches!(
        base_name(exe),
        b"ash" | b"bash" | b"busybox" | b"dash" | b"ksh" | b"ksh93" | b"mksh" | b"sh" | b"yash" | b"zsh"
    )
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// Without what GNU tools have before and behind their names: `x86_64-linux-gnu-gcc-12` is gcc.
fn plain_name(name: &[u8]) -> &[u8] {
    let is_version = |part: &[u8]| !part.is_empty() && part.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    let dash = |name: &[u8]| name.iter().rposition(|b| *b == b'-');
    let name = match dash(name).and_then(|at| Some((name.get(..at)?, name.get(at + 1..)?))) {
        Some((before, version)) if is_version(version) => before,
        _ => name,
    };
    match dash(name).and_then(|at| Some((name.get(..at)?, name.get(at + 1..)?))) {
        Some((triple, tool)) if triple.windows(5).any(|part| part == b"linux") => tool,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_tools_are_known_by_their_program() {
        let cases: &[(&str, Option<&str>, Option<&str>)] = &[
            ("/usr/bin/make", None, Some("make")),
            ("/usr/bin/x86_64-linux-gnu-gcc-12", None, Some("gcc")),
            ("/usr/bin/x86_64-linux-gnu-g++-12", None, Some("g++")),
            ("/usr/bin/x86_64-linux-gnu-ld.bfd", None, Some("ld.bfd")),
            ("/usr/lib/gcc/x86_64-linux-gnu/12/cc1", None, Some("cc1")),
            ("/usr/lib/llvm-14/bin/clang", None, Some("clang")),
            ("/usr/bin/clang-14", None, Some("clang")),
            ("/usr/bin/aarch64-linux-gnu-strip", None, Some("strip")),
            ("/usr/bin/dash", Some("/src/configure"), Some("configure")),
            ("/usr/bin/dash", Some("./config.status"), Some("config.status")),
            ("/usr/bin/python3.11", Some("/usr/bin/meson"), Some("meson")),
            ("/usr/bin/bash", Some("../libtool"), Some("libtool")),
            ("/usr/bin/dash", None, None),
            ("/usr/bin/dash", Some("/src/make"), None),
            ("/usr/bin/cp", None, None),
            ("/usr/bin/evil-make", None, None),
            ("/usr/bin/node", Some("/usr/bin/npm"), None),
            ("/usr/bin/python3.11", None, None),
            ("", None, None),
            ("-", None, None),
            ("/usr/bin/linux-", None, None),
        ];
        for (exe, script, tool) in cases {
            assert_eq!(build_tool(exe.as_bytes(), script.map(str::as_bytes)), *tool, "{exe} {script:?}");
        }
    }
}
