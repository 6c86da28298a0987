use super::*;
use crate::container::declared::environment::Environment;
use drift_formats::image_config::EnvVar;
use proptest::prelude::*;

/// A container of files that these tests name.
struct Fake;

/// What the image has.
const IMAGE: [&str; 25] = [
    "/",
    "/app",
    "/app/lib",
    "/app/lib/agent.jar",
    "/app/loader.js",
    "/app/node_modules/.bin",
    "/app/node_modules/dd-trace",
    "/bin",
    "/etc/bash.env",
    "/etc/ssl/openssl.cnf",
    "/home/app",
    "/root",
    "/usr/bin",
    "/usr/bin/git-askpass",
    "/usr/bin/lesspipe",
    "/usr/bin/ssh",
    "/usr/lib",
    "/usr/lib/libjemalloc.so.2",
    "/usr/lib/node_modules/npm/node-gyp.js",
    "/usr/lib/ruby/bundler/setup",
    "/usr/local/bin",
    "/usr/local/share/lua/5.3",
    "/usr/share/awk",
    "/usr/share/hooks.dll",
    "/usr/share/perl5",
];

/// What the running container has beside it.
const ADDED: [&str; 8] = [
    "/home/new/.bashrc",
    "/opt/x.so",
    "/root/.npmrc.new",
    "/srv/evil.py",
    "/srv/node_modules/.bin",
    "/tmp/home/.local/lib",
    "/tmp/x.so",
    "/vol/home/.profile",
];

impl Files for Fake {
    fn place(&self, path: &[u8]) -> Place {
        let path = std::str::from_utf8(path).unwrap().trim_end_matches('/');
        let path = if path.is_empty() { "/" } else { path };
        let below = |dir: &str| path == dir || path.starts_with(&format!("{dir}/"));
        match path {
            "/dev/null" => Place::Image,
            _ if ["/tmp", "/dev", "/run", "/vol"].into_iter().any(below) => Place::Writable,
            _ if below("/config") => Place::Declared,
            _ if IMAGE.contains(&path) => Place::Image,
            _ if below("/unknown") => Place::Unknown,
            _ => Place::Absent,
        }
    }

    fn exists(&self, path: &[u8]) -> Option<bool> {
        let path = std::str::from_utf8(path).unwrap();
        Some(ADDED.contains(&path) || IMAGE.contains(&path))
    }

    fn is_users_home(&self, dir: &[u8]) -> bool {
        dir == b"/home/alice"
    }
}

fn declared() -> Environment {
    let variables = [
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH=/vendor/lib",
        "JAVA_TOOL_OPTIONS=-javaagent:/otel/agent.jar",
        "CORP_PROXY=http://proxy.corp:3128",
        "APP_ENV=production",
    ]
    .map(EnvVar::parse);
    Environment::new(variables.iter())
}

fn names(list: &[Box<[u8]>]) -> Vec<&str> {
    list.iter().map(|name| std::str::from_utf8(name).unwrap()).collect()
}

fn judged(environment: &str, known: &str) -> EnvNames {
    let subject = Subject { environment: environment.as_bytes(), is_cut: false, cwd: Some(b"/app") };
    judge(&declared(), subject, &Variables::of(known.as_bytes()), &Fake)
}

/// Of each variable a value that ordinary containers have, and one by which an attacker has code loaded or
/// traffic sent elsewhere.
const PAIRS: [(&str, &str, &str); 71] = [
    ("LD_PRELOAD", "/usr/lib/libjemalloc.so.2", "/opt/x.so"),
    ("LD_PRELOAD", "", "/tmp/x.so"),
    ("LD_PRELOAD", "libjemalloc.so.2", "/usr/lib/libjemalloc.so.2 ./x.so"),
    ("LD_PRELOAD", "/config/agent.so", "/vol/agent.so"),
    ("LD_AUDIT", "/usr/lib/libjemalloc.so.2", "/dev/shm/audit.so"),
    ("LD_LIBRARY_PATH", "/usr/lib:/vendor/lib", "/usr/lib:/vendor/lib:/tmp"),
    ("LD_LIBRARY_PATH", "/usr/lib:", "evil"),
    ("LD_TRACE_LOADED_OBJECTS", "1", ""),
    ("LD_BIND_NOW", "1", ""),
    ("MALLOC_PRELOAD", "/usr/lib/libjemalloc.so.2", "/tmp/x.so"),
    ("PATH", "/app/node_modules/.bin:/node_modules/.bin:/usr/bin", "/tmp/node_modules/.bin:/usr/bin"),
    ("PATH", "/app/lib:/usr/bin", "/srv/node_modules/.bin:/usr/bin"),
    ("PATH", "/usr/bin", ".:/usr/bin"),
    ("PATH", "", "/usr/bin:"),
    ("PATH", "/unknown/bin", "/vol/bin"),
    ("PYTHONPATH", "/app:/app/lib", "/srv/lib"),
    ("PYTHONPATH", "/app:", "/app:/run/x"),
    ("PYTHONUSERBASE", "/app", "/tmp/ub"),
    ("PYTHONHOME", "/usr/lib", "/tmp/python"),
    ("PYTHONSTARTUP", "", "/srv/evil.py"),
    ("NODE_PATH", "/usr/lib", "/tmp/node_modules"),
    ("NODE_OPTIONS", "--max-old-space-size=512 --enable-source-maps", "--require=/tmp/x.js"),
    ("NODE_OPTIONS", "--require /app/loader.js", "--require /app/loader.js --require /srv/evil.js"),
    ("NODE_OPTIONS", "-r dd-trace/init", "-r evil/init"),
    ("NODE_OPTIONS", "--import=file:///app/loader.js", "--import=data:text/javascript,run()"),
    ("NODE_OPTIONS", "--no-warnings", "--inspect=0.0.0.0:9229"),
    (
        "JDK_JAVA_OPTIONS",
        "--add-opens=java.base/java.lang=ALL-UNNAMED -Djava.io.tmpdir=/tmp",
        "-javaagent:/tmp/a.jar",
    ),
    (
        "JAVA_TOOL_OPTIONS",
        "-javaagent:/otel/agent.jar -Xmx1g",
        "-javaagent:/otel/agent.jar -javaagent:/otel/b.jar",
    ),
    ("CATALINA_OPTS", "-javaagent:/app/lib/agent.jar=port=1", "-cp /app/lib/agent.jar:/tmp/evil.jar"),
    ("_JAVA_OPTIONS", "-XX:OnOutOfMemoryError=\"kill -9 %p\"", "-XX:OnError=/tmp/x"),
    ("JAVA_OPTS", "-Xms1g -XX:+UseG1GC", "-agentlib:jdwp=transport=dt_socket,server=y,address=*:5005"),
    ("CLASSPATH", "/app/lib/agent.jar:/app/lib/*", "/app/lib/*:/tmp/ub"),
    ("PERL5LIB", "/usr/share/perl5", "/tmp/perl"),
    ("PERL5OPT", "-Mstrict -w", "-Mbase;print(`id`)"),
    ("PERL5OPT", "-I/usr/share/perl5", "-I/tmp -Mevil"),
    ("RUBYOPT", "-rbundler/setup -W0", "-r/tmp/evil.rb"),
    ("RUBYOPT", "-r/usr/lib/ruby/bundler/setup", "-I/vol -revil"),
    ("RUBYLIB", "/usr/lib", "/vol/lib"),
    ("BASH_ENV", "/etc/bash.env", "/tmp/x"),
    ("ENV", "/etc/bash.env", "$HOME/x"),
    ("BASH_ENV", "", "/etc/`id`"),
    ("BASH_FUNC_ls%%", "", "() { echo hijacked; }"),
    ("ZDOTDIR", "/root", "/tmp/z"),
    ("PS4", "+ ${BASH_SOURCE}", "$(id)"),
    ("GIT_SSH_COMMAND", "ssh -o ControlMaster=no -o BatchMode=yes", "ssh -o ProxyCommand=/tmp/x"),
    ("GIT_SSH_COMMAND", "ssh -i /root/key -o UserKnownHostsFile=/dev/null", "sh -c x"),
    ("GIT_ASKPASS", "/usr/bin/git-askpass", "/tmp/askpass"),
    ("GIT_CONFIG_KEY_0", "safe.directory", "alias.x"),
    ("GIT_CONFIG_KEY_1", "user.name", "core.sshCommand"),
    ("GIT_CONFIG_PARAMETERS", "'safe.directory'='*' 'color.ui=never'", "'core.fsmonitor'='/tmp/x'"),
    ("GIT_CONFIG_GLOBAL", "/dev/null", "/tmp/gitconfig"),
    ("PAGER", "less -R", "sh -c id"),
    ("PAGER", "cat", "/tmp/pager"),
    ("EDITOR", "vi", "vi;id"),
    ("LESSOPEN", "| /usr/bin/lesspipe %s", "|/tmp/x %s"),
    ("VIMINIT", "", ":!true"),
    ("MAKEFLAGS", "w -j4 --jobserver-auth=3,4 -- DESTDIR=/app", "--eval=$(shell id)"),
    ("MAKEFLAGS", "rR --no-print-directory", "-- SHELL=/tmp/sh"),
    ("AWKPATH", "/usr/share/awk", "/tmp"),
    ("LUA_PATH", "/usr/local/share/lua/5.3/?.lua;;", "/tmp/?.lua;;"),
    ("OPENSSL_CONF", "/etc/ssl/openssl.cnf", "/vol/openssl.cnf"),
    (
        "GLIBC_TUNABLES",
        "glibc.malloc.arena_max=2:glibc.pthread.rseq=0",
        "glibc.malloc.mxfast=glibc.malloc.mxfast=A",
    ),
    ("http_proxy", "http://proxy.corp:3128", "http://198.51.100.1:3128"),
    ("npm_config_userconfig", "/root/.npmrc", "/tmp/npmrc"),
    ("npm_config_node_gyp", "/usr/lib/node_modules/npm/node-gyp.js", "/tmp/gyp.js"),
    ("NPM_CONFIG_script-shell", "bash", "/vol/sh"),
    ("PIP_NO_CACHE_DIR", "1", ""),
    ("PIP_INDEX_URL", "", "https://packages.attacker.example/simple"),
    ("DOTNET_STARTUP_HOOKS", "/usr/share/hooks.dll", "/tmp/x.dll"),
    ("CORECLR_PROFILER_PATH", "/usr/lib/libjemalloc.so.2", "/vol/profiler.so"),
    ("ANY_NAME", "/tmp/data.txt", "/tmp/x.so"),
];

#[test]
fn values_decide() {
    let mut wrong = Vec::new();
    for (name, innocent, hostile) in PAIRS {
        for (value, want) in [(innocent, false), (hostile, true)] {
            if value.is_empty() && want {
                continue;
            }
            let found = judged(&format!("{name}={value}\0"), "");
            if names(&found.risky) != if want { vec![name] } else { vec![] } {
                wrong.push(format!("{name}={value}: {:?}", names(&found.risky)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn homes_are_judged_by_what_is_in_them() {
    for (home, want) in [
        ("/root", false),
        ("/home/app", false),
        ("/nonexistent", false),
        ("/tmp", false),
        ("/tmp/home", true),
        ("/home/new", true),
        // In /etc/passwd.
        ("/home/alice", false),
        ("/vol/home", true),
        ("/config/home", false),
        (".", false),
        ("../tmp/home", true),
    ] {
        let found = judged(&format!("HOME={home}\0"), "");
        assert_eq!(!found.risky.is_empty(), want, "{home}");
        // What shells set themselves is no difference by itself.
        assert_eq!(names(&found.added), if want { vec!["HOME"] } else { vec![] }, "{home}");
    }
}

#[test]
fn a_variable_of_any_name_is_dangerous_where_it_leads_to_code_that_was_added() {
    for (value, want) in [
        ("/opt/x.so", true),
        ("/usr/lib:/srv/evil.py", true),
        ("/opt/not-there.so", false),
        ("/tmp", false),
        ("/usr/lib/libjemalloc.so.2", false),
        ("x.so", false),
    ] {
        assert_eq!(!judged(&format!("PLUGIN={value}\0"), "").risky.is_empty(), want, "{value}");
    }
    assert!(
        judged("SUDO_COMMAND=/srv/evil.py\0", "").risky.is_empty(),
        "it says what was run, and is seen there"
    );
}

#[test]
fn what_is_known_with_this_value_is_not_new() {
    assert!(judged("LD_PRELOAD=/tmp/x.so\0", "LD_PRELOAD=/tmp/x.so\0").risky.is_empty());
    let other = judged("LD_PRELOAD=/tmp/x.so\0", "LD_PRELOAD=/usr/lib/libjemalloc.so.2\0");
    assert_eq!(names(&other.risky), ["LD_PRELOAD"], "the same name with another value is");
    assert!(other.found.has(b"LD_PRELOAD", b"/tmp/x.so"));
}

#[test]
fn differences_are_told_apart() {
    let found = judged("APP_ENV=debug\0FOO=1\0FOO=2\0LD_PRELOAD=/tmp/x.so\0PWD=/\0_=/tmp/x.so\0", "");
    assert_eq!(names(&found.added), ["FOO", "LD_PRELOAD"]);
    assert_eq!((names(&found.changed), names(&found.risky)), (vec!["APP_ENV"], vec!["LD_PRELOAD"]));
}

#[test]
fn a_cut_value_is_not_judged_and_what_took_the_room_is_counted() {
    let text = format!("AAA={}\0LD_PRELOAD=/tm", "a".repeat(4080));
    let subject = Subject { environment: text.as_bytes(), is_cut: true, cwd: None };
    let none = Variables::default();
    let found = judge(&declared(), subject, &none, &Fake);
    assert_eq!((names(&found.added), found.risky.len()), (vec!["AAA", "LD_PRELOAD"], 0));
    assert!(new_bytes(&declared(), subject, &none) > 4000);
    let parents = Variables::of(text.as_bytes());
    assert_eq!(new_bytes(&declared(), subject, &parents), 0, "a service with many variables");
}

#[test]
fn long_lists_are_a_risk() {
    let text = format!("PYTHONPATH={}\0", vec!["/app"; 1000].join(":"));
    assert_eq!(names(&judged(&text, "").risky), ["PYTHONPATH"]);
    let long = format!("LD_{}=/tmp/x.so\0", "x".repeat(300));
    assert_eq!(judged(&long, "").risky[0].len(), MAX_NAME);
}

proptest! {
    #[test]
    fn values_never_come_out(value in "[a-z]{12}", name in "[A-Z_]{1,12}") {
        let found = judged(&format!("{name}={value}\0LD_PRELOAD=/{value}\0PATH=/{value}\0"), "");
        let debug = format!("{found:?}");
        prop_assert!(!debug.contains(&value));
        for list in [&found.added, &found.changed, &found.risky] {
            prop_assert!(list.iter().all(|n| !String::from_utf8_lossy(n).contains(&value)));
        }
    }

    #[test]
    fn never_panics(index in 0..PAIRS.len(), value in "[ -~]{0,60}") {
        let (name, ..) = PAIRS[index];
        let _ = judged(&format!("{name}={value}\0"), "");
    }
}
