//! Every way that a file becomes the program of a process, in a real container: what the shipped plugin says
//! in a real, live libsinsp, and which of the shipped rules alert. Each way has an innocent twin.

use crate::live::{condition, engine, run};
use crate::turns;
use std::time::Duration;
use testkit::live::{Facts, Image, Runtime, Session};

/// (what it is, commands, what the rule says: `path source`, or "" for nothing).
type Row = (&'static str, &'static str, &'static str);

/// Interpreters that the image has not are copies of `true`: name and arguments are what counts.
const NAMED: &str = "for n in make tclsh8.6 expect lua5.4 node ruby3.1 php8.2 vim.tiny sqlite3 whatever
do cp /bin/true /opt/$n; done";

const SCRIPTS: &[Row] = &[
    ("awk -f", "echo 'BEGIN{}' > /tmp/a.awk; awk -f /tmp/a.awk", "/tmp/a.awk option"),
    ("awk on data", "awk '{print}' /tmp/a.awk > /dev/null", ""),
    ("awk -f, the image's", "awk -f /etc/shells < /dev/null 2> /dev/null", ""),
    (
        "shebang of awk",
        "printf '#!/usr/bin/awk -f\nBEGIN{}\n' > /tmp/sa; chmod +x /tmp/sa; /tmp/sa",
        "/tmp/sa shebang",
    ),
    (
        "shebang of what nobody knows",
        "printf '#!/opt/whatever -x\n' > /tmp/sw; chmod +x /tmp/sw; cd /tmp; ./sw",
        "/tmp/sw shebang",
    ),
    ("its own name as an argument", "/opt/whatever /opt/whatever", ""),
    (
        "shebang by env",
        "printf '#!/usr/bin/env bash\ntrue\n' > /tmp/se; chmod +x /tmp/se; /tmp/se",
        "/tmp/se argument",
    ),
    (
        "shebang by env, unknown",
        "printf '#!/usr/bin/env -S /opt/whatever\n' > /tmp/sv; chmod +x /tmp/sv; /tmp/sv",
        "/tmp/sv shebang",
    ),
    ("without a shebang", "echo true > /tmp/g; chmod +x /tmp/g; bash -c '/tmp/g; true'", "/tmp/g no_shebang"),
    ("without a shebang, of dash", "dash -c '/tmp/g; true'", "/tmp/g argument"),
    ("sed -f", "echo p > /tmp/s.sed; sed -n -f /tmp/s.sed /etc/shells > /dev/null", "/tmp/s.sed option"),
    ("sed on data", "sed -n p /tmp/s.sed > /dev/null", ""),
    ("shebang of make", "printf '#!/opt/make -f\n' > /tmp/sm; chmod +x /tmp/sm; /tmp/sm", "/tmp/sm shebang"),
    (
        "make in a directory",
        "mkdir /tmp/mk; echo all: > /tmp/mk/Makefile; /opt/make -C /tmp/mk",
        "/tmp/mk/Makefile search_path",
    ),
    ("make without a file", "cd /etc; /opt/make", ""),
    ("tclsh", "echo > /tmp/t.tcl; /opt/tclsh8.6 /tmp/t.tcl", "/tmp/t.tcl argument"),
    ("expect", "/opt/expect -f /tmp/t.tcl", "/tmp/t.tcl argument"),
    ("lua", "/opt/lua5.4 /tmp/t.tcl", "/tmp/t.tcl argument"),
    ("lua -l", "echo > /tmp/m.lua; cd /tmp; /opt/lua5.4 -l m -e 1", "/tmp/m.lua search_path"),
    ("python DIR", "mkdir /tmp/d; echo > /tmp/d/__main__.py; python3 /tmp/d", "/tmp/d/__main__.py argument"),
    ("python -m", "echo > /tmp/evm.py; cd /tmp; python3 -m evm", "/tmp/evm.py search_path"),
    ("python -m, the image's", "cd /tmp; python3 -m this > /dev/null", ""),
    ("node -r", "echo > /tmp/r.js; /opt/node -r /tmp/r.js /etc/shells", "/tmp/r.js option"),
    ("node on the image's", "/opt/node --max-old-space-size=99 /etc/shells", ""),
    ("node -r without its ending", "/opt/node -r /tmp/r -e 1", "/tmp/r.js option"),
    ("ruby -r", "echo > /tmp/t.rb; /opt/ruby3.1 -r /tmp/t.rb -e 1", "/tmp/t.rb option"),
    ("ruby -r by a library's name", "/opt/ruby3.1 -rjson -e 1", ""),
    (
        "perl -I -M",
        "mkdir /tmp/l; echo '1;' > /tmp/l/Evil.pm; perl -I/tmp/l -MEvil -e 1",
        "/tmp/l/Evil.pm search_path",
    ),
    ("perl -M, the image's", "perl -MFile::Spec -e 1", ""),
    ("php -d", "/opt/php8.2 -d auto_prepend_file=/tmp/r.js -r 1", "/tmp/r.js option"),
    ("php -S", "/opt/php8.2 -S :80 -t /tmp/d", "/tmp/d search_path"),
    ("php -d, another setting", "/opt/php8.2 -d error_log=/tmp/r.js -r 1", ""),
    ("bash --rcfile", "echo true > /tmp/rc; bash --rcfile /tmp/rc -i -c true 2> /dev/null", "/tmp/rc option"),
    ("bash --rcfile, the image's", "bash --rcfile /etc/profile -c true", ""),
    ("vim -S", "/opt/vim.tiny -es -S /tmp/rc", "/tmp/rc option"),
    ("vim on a file", "/opt/vim.tiny /tmp/rc", ""),
    ("sqlite3 -init", "/opt/sqlite3 -init /tmp/rc :memory:", "/tmp/rc option"),
    ("loader", "/lib64/ld-linux-x86-64.so.2 /bin/dash /tmp/rc", "/tmp/rc argument"),
    ("loader on the image's", "/lib64/ld-linux-x86-64.so.2 /bin/dash -c true", ""),
    ("standard input", "sh < /tmp/rc", "/tmp/rc stdin"),
    ("standard input, the image's", "sh < /etc/profile", ""),
    ("standard input, data", "dash -c 'read x' < /tmp/rc", ""),
    ("here-document", "bash -c 'sh <<X\ntrue\nX\n'", ""),
    ("another descriptor", "sh /dev/fd/3 3< /tmp/rc", "/tmp/rc argument"),
    ("process substitution", "bash -c 'bash <(echo true)'", ""),
    ("FIFO", "mkfifo /tmp/ff; (echo true > /tmp/ff) & sh /tmp/ff", "/tmp/ff argument"),
    ("FIFO on standard input", "mkfifo /tmp/fi; (echo true > /tmp/fi) & sh < /tmp/fi", "/tmp/fi stdin"),
    (
        "name that ends as that of an unlinked file",
        "cp /etc/profile /tmp/profile; echo true > '/tmp/profile (deleted)'; sh '/tmp/profile (deleted)'",
        "/tmp/profile (deleted) argument",
    ),
    ("copy of the image's", "/opt/node /tmp/profile", ""),
    ("copy of the image's, and another", "/opt/node -r /tmp/r.js /tmp/profile", "/tmp/r.js option"),
];

/// Whichever end is executed second has the alert: one, in either order.
const PIPES: &[Row] = &[
    ("download", "curl -s file:///etc/profile | sh", "execve"),
    ("download through a filter", "curl -s file:///etc/profile | cat | bash -s x", "execve"),
    ("process substitution", "bash -c 'bash <(curl -s file:///etc/profile)'", "execve"),
    ("decoded", "echo dHJ1ZQo= | base64 -d | sh", "execve"),
    ("written by the shell", "echo true | sh", ""),
    ("a file of the image", "cat /etc/profile | sh", ""),
    ("data of a download", "curl -s file:///etc/profile | sh -c 'cat > /dev/null'", ""),
    ("download into a file", "curl -s file:///etc/profile > /tmp/got; echo true | sh", ""),
];

const CUT: &[Row] = &[
    ("options before the script", "python3 -X $(printf %04200d 1) /tmp/evm.py", "cut"),
    ("arguments behind the script", "sh /etc/profile $(printf %04200d 1)", ""),
    ("a long program", "python3 -c \"#$(printf %04200d 1)\"", ""),
];

/// Plays the rows, and compares what the rule lets through with what each row expects.
fn check(rule: &str, fields: &[&str], rows: &[Row]) {
    let _turn = turns::take(module_path!());
    if !Runtime::Podman.usable(rule, &[]) {
        return;
    }
    let container = Runtime::Podman.start(&Image::network().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let spec = engine(dir.path(), "repeat: every").asking(&condition(rule), fields);
    let mut session: Session = crate::live::session(&spec, &container);
    let facts = Facts { files: true, ..Facts::default() };
    let play = |session: &mut Session, text: &str| {
        let before = session.lines().len();
        let script = container.put("script.sh", text.as_bytes()).unwrap();
        run(&container, &format!("sh {script}"), facts, &mut [&mut *session]);
        session.settle(Duration::from_secs(1), Duration::from_secs(20)).unwrap();
        let said = session.lines()[before..].iter().map(|line| {
            let words = fields.iter().filter_map(|field| line.fields[*field].as_str());
            words.collect::<Vec<_>>().join(" ")
        });
        // The script that plays the row is drift, too.
        said.filter(|line| !line.starts_with("/vol/")).collect::<Vec<_>>()
    };
    play(&mut session, NAMED);
    let mut wrong = Vec::new();
    for (name, commands, want) in rows {
        let due: Vec<&str> = if want.is_empty() { Vec::new() } else { vec![want] };
        let mut got = play(&mut session, commands);
        // Both ends of a pipe may be gone before either is looked at, on a busy machine.
        for _ in 0..2 {
            if got != due && !due.is_empty() {
                got = play(&mut session, commands);
            }
        }
        if got != due {
            wrong.push(format!("{name}: {got:?}, expected {due:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn scripts_by_every_way() {
    check("Drift script executed", &["drift.script_path", "drift.script_source"], SCRIPTS);
}

#[test]
fn programs_from_pipes() {
    check("Drift program text piped into an interpreter", &["evt.type"], PIPES);
}

#[test]
fn command_lines_that_hide_the_script() {
    check("Drift command line cut", &["drift.script_source"], CUT);
}
