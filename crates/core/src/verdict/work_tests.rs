use super::*;

fn argv(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

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
        // They take apart or copy what they are given.
        ("/usr/bin/ar", None, None),
        ("/usr/bin/aarch64-linux-gnu-strip", None, None),
        ("/usr/bin/objcopy", None, None),
        ("/usr/bin/link", None, None),
        ("", None, None),
        ("-", None, None),
        ("/usr/bin/linux-", None, None),
    ];
    for (exe, script, tool) in cases {
        assert_eq!(build_tool(exe.as_bytes(), script.map(str::as_bytes), &[]), *tool, "{exe} {script:?}");
    }
}

#[test]
fn what_a_tool_is_asked_for_decides() {
    for (line, is_build) in [
        ("dotnet build -c Release", true),
        ("dotnet publish", true),
        ("dotnet app.dll", false),
        ("dotnet exec app.dll", false),
        ("dotnet run", false),
        ("dotnet", false),
        ("go build ./...", true),
        ("go install x", true),
        ("go run x.go", false),
        ("make", true),
        ("make -f Makefile.am all", true),
        ("make -j4 install", true),
        ("make -f -", false),
        ("make -f-", false),
        ("make --file=/dev/stdin", false),
        ("make all --makefile /proc/self/fd/0", false),
    ] {
        let argv = argv(line);
        let exe = [b"/usr/bin/", argv[0]].concat();
        assert_eq!(build_tool(&exe, None, &argv[1..]).is_some(), is_build, "{line}");
    }
}

#[test]
fn compilers_and_linkers_write_programs_and_nothing_else_does() {
    let make = ImageWork::Build("make");
    for (exe, work, want) in [
        ("/usr/bin/x86_64-linux-gnu-ld.bfd", make, true),
        ("/usr/bin/x86_64-linux-gnu-as", make, true),
        ("/usr/lib/rustlib/bin/rustc", make, true),
        ("/usr/lib/go-1.19/pkg/tool/linux_amd64/link", ImageWork::Build("go"), true),
        ("/usr/share/dotnet/dotnet", ImageWork::Build("dotnet"), true),
        ("/usr/share/dotnet/dotnet", make, false),
        ("/usr/bin/link", make, false),
        ("/usr/bin/cp", make, false),
        ("/usr/bin/install", make, false),
        ("/usr/bin/dash", make, false),
        ("/usr/bin/make", make, false),
        ("/usr/bin/strip", make, false),
        ("/usr/bin/ld", ImageWork::Start, false),
    ] {
        assert_eq!(writes_objects(exe.as_bytes(), work), want, "{exe} {work}");
    }
}

#[test]
fn shells_and_how_they_were_started() {
    for (exe, line, shell, string) in [
        ("/usr/bin/dash", "/bin/sh -c x", true, true),
        ("/usr/bin/bash", "bash -ec x", true, true),
        ("/usr/bin/bash", "bash -e -o pipefail -c x", true, false),
        ("/usr/bin/bash", "bash -e -c x", true, true),
        ("/usr/bin/dash", "sh /entry.sh -c x", true, false),
        ("/bin/busybox", "/bin/sh -c x", true, true),
        ("/bin/busybox", "busybox sh /entry.sh", true, false),
        ("/bin/busybox", "httpd -f", false, false),
        ("/usr/bin/python3.11", "python3 -c x", false, true),
        ("/usr/bin/node", "node /app.js", false, false),
    ] {
        let argv = argv(line);
        assert_eq!(
            (is_entry_shell(exe.as_bytes(), &argv), is_command_string(&argv)),
            (shell, string),
            "{exe} {line}"
        );
    }
}

#[test]
fn tools_of_the_start() {
    for (exe, script, want) in [
        ("/usr/sbin/useradd", None, Some(ImageWork::Accounts)),
        ("/usr/sbin/chpasswd", None, Some(ImageWork::Accounts)),
        ("/usr/bin/dash", Some("/usr/sbin/update-ca-certificates"), Some(ImageWork::Certificates)),
        ("/usr/bin/dash", Some("/entry.sh"), None),
        ("/usr/bin/perl", Some("/usr/sbin/useradd"), None),
        ("/usr/bin/tee", None, None),
    ] {
        assert_eq!(start_tool(exe.as_bytes(), script.map(str::as_bytes)), want, "{exe} {script:?}");
    }
}
