//! What the image's own programs do that brings new files about: building, and setting up at the start.
//!
//! Pure functions of paths: whether a program of that name is the image's is for the caller to find out.
//! Anything else can take any name.

/// Work of the image's own that a file was written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageWork {
    /// A build, by its outermost tool.
    Build(&'static str),
    /// The container's entry point, a shell that runs a script of the image or the declared command, while
    /// the container starts.
    Start,
    /// The same, by a program of the image that keeps accounts, such as useradd.
    Accounts,
    /// The same, by the image's update-ca-certificates.
    Certificates,
    /// The shell that runs the entry point, by its own commands, at any time: a script, as job runners write
    /// them.
    Entrypoint,
}

impl ImageWork {
    /// Whether it is the entry point's.
    pub fn is_start(self) -> bool {
        !matches!(self, Self::Build(_) | Self::Entrypoint)
    }
}

impl std::fmt::Display for ImageWork {
    /// The value of `drift.binary_work`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Build(tool) => write!(f, "build:{tool}"),
            Self::Start => f.write_str("start"),
            Self::Accounts => f.write_str("start:accounts"),
            Self::Certificates => f.write_str("start:certificates"),
            Self::Entrypoint => f.write_str("entrypoint"),
        }
    }
}

/// Programs that compile, link, or run those that do. None that applications are run by (what descends from
/// `npm start` is no build), and none that takes any file apart or copies it (ar, strip, objcopy).
const PROGRAMS: [&str; 40] = [
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
    "lld",
    "lto-wrapper",
    "lto1",
    "make",
    "mold",
    "ninja",
    "rustc",
    "samu",
    "tcc",
];

/// Those that write object files and programs themselves. Others start them.
const WRITERS: [&str; 16] = [
    "as", "cargo", "clang", "clang++", "ghc", "go", "ld", "ld.bfd", "ld.gold", "ld.lld", "lld", "lto1",
    "mold", "rustc", "tcc", "link",
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

/// The build tool that a process is; `exe` is the path of its executable, `script` the script that an
/// interpreter was started on, `args` its arguments without the program's name.
pub fn build_tool(exe: &[u8], script: Option<&[u8]>, args: &[&[u8]]) -> Option<&'static str> {
    let (name, tools): (&[u8], &[&'static str]) = match script {
        Some(script) => (base_name(script), &SCRIPTS),
        None => (plain_name(base_name(exe)), &PROGRAMS),
    };
    let tool = tools.iter().find(|tool| tool.as_bytes() == name).copied()?;
    let verb = args.iter().find(|arg| !arg.starts_with(b"-")).copied().unwrap_or_default();
    let builds = match tool {
        // The runtime of applications.
        "dotnet" => matches!(verb, b"build" | b"msbuild" | b"publish" | b"restore" | b"test"),
        // What it builds, it runs.
        "go" => verb != b"run",
        // A makefile from nowhere.
        "bmake" | "gmake" | "make" => !reads_its_rules_from_stdin(args),
        _ => true,
    };
    builds.then_some(tool)
}

fn reads_its_rules_from_stdin(args: &[&[u8]]) -> bool {
    const STDIN: [&[u8]; 4] = [b"-", b"/dev/stdin", b"/dev/fd/0", b"/proc/self/fd/0"];
    let of_option = |arg: &[u8], next: Option<&&[u8]>| {
        let attached =
            [&b"--file="[..], b"--makefile=", b"-f"].iter().find_map(|option| arg.strip_prefix(*option));
        match (arg, attached) {
            (b"-f" | b"--file" | b"--makefile", _) => next.is_some_and(|next| STDIN.contains(next)),
            (_, Some(value)) => STDIN.contains(&value),
            _ => false,
        }
    };
    args.iter().enumerate().any(|(at, arg)| of_option(arg, args.get(at + 1)))
}

/// Whether a process of a build writes programs and libraries by itself: a compiler or a linker, not `cp`
/// below make.
pub fn writes_objects(exe: &[u8], work: ImageWork) -> bool {
    let name = plain_name(base_name(exe));
    match (work, name) {
        // Its compiler runs inside of it.
        (ImageWork::Build("dotnet"), b"dotnet") => true,
        // Go's linker, not coreutils' link.
        (ImageWork::Build(_), b"link") => exe.windows(10).any(|part| part == b"/pkg/tool/"),
        (ImageWork::Build(_), name) => WRITERS.iter().any(|writer| writer.as_bytes() == name),
        _ => false,
    }
}

/// Whether a process is a shell that can be an entry point; `argv` tells which applet of busybox it is.
pub fn is_entry_shell(exe: &[u8], argv: &[&[u8]]) -> bool {
    let is_name = |name: &[u8]| {
        [&b"ash"[..], b"bash", b"dash", b"ksh", b"mksh", b"sh", b"zsh"]
            .contains(&name.strip_prefix(b"-").unwrap_or(name))
    };
    match base_name(exe) {
        b"busybox" | b"busybox.static" => {
            let applet = argv.iter().map(|arg| base_name(arg)).find(|name| !name.starts_with(b"busybox"));
            applet.is_some_and(is_name)
        }
        name => is_name(plain_name(name)),
    }
}

/// Whether a shell was given its commands on its command line (`sh -c`, `sh -ec`).
pub fn is_command_string(argv: &[&[u8]]) -> bool {
    let mut options = argv.iter().skip(1).take_while(|arg| arg.starts_with(b"-") || arg.starts_with(b"+"));
    options.any(|arg| !arg.starts_with(b"--") && arg.ends_with(b"c"))
}

/// What a program of the image does as part of the start; `exe` and `script` as for [`build_tool`].
pub fn start_tool(exe: &[u8], script: Option<&[u8]>) -> Option<ImageWork> {
    const ACCOUNTS: [&[u8]; 15] = [
        b"addgroup",
        b"adduser",
        b"chage",
        b"chfn",
        b"chgpasswd",
        b"chpasswd",
        b"chsh",
        b"gpasswd",
        b"groupadd",
        b"groupdel",
        b"groupmod",
        b"passwd",
        b"useradd",
        b"userdel",
        b"usermod",
    ];
    match script {
        Some(script) if base_name(script) == b"update-ca-certificates" => Some(ImageWork::Certificates),
        // Debian's adduser is a script that starts useradd.
        Some(_) => None,
        None => match base_name(exe) {
            b"update-ca-trust" => Some(ImageWork::Certificates),
            name if ACCOUNTS.contains(&name) => Some(ImageWork::Accounts),
            _ => None,
        },
    }
}

/// Whether an executable is one of the small programs that containers are started by, to look after the real
/// one.
pub fn is_init(exe: &[u8]) -> bool {
    matches!(
        base_name(exe),
        b"tini" | b"tini-static" | b"docker-init" | b"podman-init" | b"catatonit" | b"dumb-init" | b"init"
    )
}

/// Whether an executable is one of those that entry points are started by, or start themselves again by as
/// another user.
pub fn is_launcher(exe: &[u8]) -> bool {
    const LAUNCHERS: [&[u8]; 12] = [
        b"chpst",
        b"env",
        b"gosu",
        b"ionice",
        b"nice",
        b"runuser",
        b"setpriv",
        b"setuidgid",
        b"stdbuf",
        b"su",
        b"su-exec",
        b"sudo",
    ];
    LAUNCHERS.contains(&base_name(exe))
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
#[path = "work_tests.rs"]
mod tests;
