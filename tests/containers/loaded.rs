//! Code that running programs read, and memory that they write into, in real containers: what the shipped
//! plugin says in a real, live libsinsp, and what the shipped rules say of it. Each row has an innocent twin.

use crate::live::{condition, run, Watch};
use crate::turns;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::live::{Facts, Image, Runtime};

/// (what it is, commands, what the rules alert on: a path, or "" for nothing).
type Row = (&'static str, &'static str, &'static str);

const CODE: &[Row] = &[
    (
        "import",
        "mkdir /srv/m; echo x=1 > /srv/m/ev.py; PYTHONPATH=/srv/m python3 -c 'import ev'",
        "/srv/m/ev.py",
    ),
    ("import again, now of its byte code", "PYTHONPATH=/srv/m python3 -c 'import ev'", ""),
    ("import, the image's", "python3 -c 'import colorsys, json.tool, sched'", ""),
    (
        "import, a copy of the image's",
        "mkdir /srv/c; cp /usr/lib/python3*/colorsys.py /srv/c; cd /srv/c; python3 -c 'import colorsys'",
        "",
    ),
    (
        "import, a module of the image that was changed",
        "f=$(ls /usr/lib/python3*/chunk.py); echo '#' >> $f; python3 -c 'import chunk'",
        "CHANGED",
    ),
    (
        "import of what is gone at once",
        "mkdir /srv/g; python3 -Bc 'import os,sys; sys.path[0]=\"/srv/g\"; n=\"/srv/g/gone.py\"; \
         open(n,\"w\").write(\"x=1\"); import gone; os.remove(n)'",
        "/srv/g/gone.py",
    ),
    ("require", "echo '1;' > /srv/Ev.pm; perl -e 'require \"/srv/Ev.pm\"'", "/srv/Ev.pm"),
    ("require, the image's", "perl -e 'require File::Spec; require List::Util'", ""),
    ("source", "echo true > /srv/ev.sh; sh -c '. /srv/ev.sh'", "/srv/ev.sh"),
    ("source, any name", "echo true > /srv/env; bash -c 'source /srv/env; true'", "/srv/env"),
    ("source, the image's", "bash -c '. /etc/profile; true'", ""),
    ("a shell reads data", "echo 1 > /srv/list; while read x; do :; done < /srv/list", ""),
    (
        "include of a picture with code in it",
        "cp $(readlink -f /usr/bin/python3) /opt/php; printf 'GIF89a<?php 1;' > /srv/u.jpg; \
         /opt/php -c 'open(\"/srv/u.jpg\").read()'",
        "/srv/u.jpg",
    ),
    ("a picture", "printf GIF89a > /srv/v.jpg; /opt/php -c 'open(\"/srv/v.jpg\").read()'", ""),
    (
        "web shell in a server that runs already",
        "mkdir /opt/www; /opt/php -c 'import time; time.sleep(1); open(\"/opt/www/w.php\").read()' & \
         sleep 0.1; echo '<?php 1;' > /opt/www/w.php; wait",
        "/opt/www/w.php",
    ),
    (
        "code is copied, packed and searched",
        "echo '<?php 1;' > /srv/r.php; cat /srv/r.php /srv/m/ev.py > /dev/null; grep -r x /srv > /dev/null; \
         cp -r /srv /opt/srv; tar cf /opt/srv.tar /srv; sed -n p /srv/ev.sh > /dev/null",
        "",
    ),
    ("code of another language", "python3 -c 'open(\"/srv/r.php\").read()'", ""),
    (
        "on a volume, written here",
        "echo x=1 > /dev/shm/here.py; PYTHONPATH=/dev/shm python3 -c 'import here'",
        "/dev/shm/here.py",
    ),
    (
        "on a volume, renamed here",
        "echo x=1 > /dev/shm/t; mv /dev/shm/t /dev/shm/then.py; sleep 0.3; \
         PYTHONPATH=/dev/shm python3 -c 'import then'",
        "/dev/shm/then.py",
    ),
    ("on a volume, the deployment's", "PYTHONPATH=/corpus python3 -Bc 'import deployed'", ""),
    ("memory of another process", "sh -c 'exec 3>/proc/$PPID/mem'", "mem"),
    ("its own memory by a link", "ln -s /proc/self/mem /srv/lnk; sh -c 'exec 3<>/srv/lnk'", "mem"),
    ("its own memory, read", "sh -c 'exec 3</proc/self/mem'", ""),
    ("another file of a process", "sh -c 'echo 0 > /proc/self/oom_score_adj'", ""),
    ("slips by: code in an argument", "python3 -c 'import os; os.getpid()'", ""),
    (
        "slips by: anonymous memory",
        "python3 -c 'import mmap; m=mmap.mmap(-1,4096,prot=7); m.write(b\"\\xc3\")'",
        "",
    ),
    (
        "slips by: a loader of its own",
        "printf '\\303' > /srv/raw; python3 -c 'import ctypes; c=ctypes.CDLL(None); \
         c.mmap(None, 4096, 5, 2, c.open(b\"/srv/raw\", 0), 0)'",
        "",
    ),
    ("slips by: text of any name, sourced by a script", "echo true > /srv/text; echo '. /srv/text' | sh", ""),
    (
        "slips by: data that is code",
        "python3 -c 'import pickle; open(\"/srv/p\", \"wb\").write(pickle.dumps(1)); \
         pickle.load(open(\"/srv/p\", \"rb\"))'",
        "",
    ),
    ("slips by: a volume's code of another's", "PYTHONPATH=/corpus python3 -Bc 'import deployed'", ""),
    (
        "slips by: an interpreter of another name",
        "cp $(readlink -f /usr/bin/python3) /opt/tool; echo x=1 > /srv/o.py; \
         /opt/tool -c 'open(\"/srv/o.py\").read()'",
        "",
    ),
    ("a file of that name", "echo x > /srv/mem", ""),
];

#[test]
fn code_that_running_programs_read() {
    let _turn = turns::take(module_path!());
    let watch = condition("Drift internal: file watch");
    let filter = format!("({watch}) or evt.type in (drift_code, drift_injection)");
    for runtime in [Runtime::Podman, Runtime::Containerd] {
        if !runtime.usable("live: code that is loaded", &[]) {
            continue;
        }
        let container = runtime.start(&Image::network().unwrap()).unwrap();
        container.put("deployed.py", b"x=1\n").unwrap();
        let script: String = CODE.iter().map(|(_, commands, _)| format!("({commands})\n")).collect();
        container.put("loaded.sh", script.as_bytes()).unwrap();
        let fields = &["drift.file_path", "drift.file_content", "drift.injection"];
        let watch =
            Watch { filter: &filter, fields, quiet: Duration::from_secs(5), limit: Duration::from_secs(60) };
        let seen = watch.over(&container, |session| {
            let facts = Facts { files: true, ..Facts::default() };
            run(&container, "sh /corpus/loaded.sh", facts, &mut [session]);
        });
        let changed = "/usr/lib/python3";
        let named: BTreeSet<String> = seen
            .lines
            .iter()
            .filter(|line| line.text("drift.file_content").is_none())
            .map(|line| match (line.text("drift.file_path"), line.text("drift.injection")) {
                (_, Some(_)) => "mem".to_owned(),
                (Some(path), _) if path.starts_with(changed) && path.ends_with("/chunk.py") => {
                    "CHANGED".to_owned()
                }
                (path, _) => path.unwrap_or("unknown").to_owned(),
            })
            .collect();
        let due: BTreeSet<String> =
            CODE.iter().map(|(_, _, want)| (*want).to_owned()).filter(|want| !want.is_empty()).collect();
        assert_eq!(named, due, "{runtime:?}");
        let alerts = |rule: &str| seen.alerts.iter().filter(|alert| alert.rule == rule).count();
        let memory = CODE.iter().filter(|(_, _, want)| *want == "mem").count();
        assert_eq!(alerts("Drift code injected into a process"), memory, "{runtime:?}");
        assert_eq!(alerts("Drift code loaded"), due.len() - 1, "{runtime:?}: {:#?}", seen.lines);
    }
}
