use super::*;
use proptest::prelude::*;

/// (executable, arguments separated by `|` with `argv[0]` first, the script or "" for none).
type Row = (&'static str, &'static str, &'static str);

fn check(rows: &[Row]) {
    for (exe, argv, want) in rows {
        let argv: Vec<&[u8]> = argv.split('|').map(str::as_bytes).collect();
        let got = script_argument(exe.as_bytes(), &argv).map(String::from_utf8_lossy);
        assert_eq!(
            got.as_deref().unwrap_or(""),
            *want,
            "{exe} {:?}",
            argv.iter().map(|a| String::from_utf8_lossy(a)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn the_dynamic_loader_runs_what_it_is_given() {
    let glibc = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
    check(&[
        (glibc, "/lib64/ld-linux-x86-64.so.2|/tmp/evil|-x", "/tmp/evil"),
        (glibc, "ld|--library-path|/l|./evil", "./evil"),
        (glibc, "ld|--library-path=/l|./evil", "./evil"),
        (glibc, "ld|--preload|/a.so|--argv0|sh|--inhibit-cache|/tmp/evil", "/tmp/evil"),
        (glibc, "ld|--list|/bin/ls", ""),
        (glibc, "ld|--verify|/bin/ls", ""),
        (glibc, "ld", ""),
        ("/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-x86_64.so.1|--|/tmp/evil", "/tmp/evil"),
        ("/lib/ld-musl-aarch64.so.1", "ldd|/tmp/evil", "/tmp/evil"),
        ("/lib/x86_64-linux-gnu/ld-2.31.so", "ld|/tmp/evil", "/tmp/evil"),
        ("/lib64/ld64.so.2", "ld|/tmp/evil", "/tmp/evil"),
        ("/usr/bin/ld", "ld|/tmp/x.o", ""),
        ("/usr/bin/x86_64-linux-gnu-ld.bfd", "ld|/tmp/x.o", ""),
    ]);
}

#[test]
fn dash_and_sh() {
    check(&[
        ("/usr/bin/dash", "sh|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "/bin/sh|./x.sh|-c|arg", "./x.sh"),
        ("/usr/bin/dash", "sh", ""),
        ("/usr/bin/dash", "sh|-c|/x.sh", ""),
        ("/usr/bin/dash", "sh|-xc|echo", ""),
        ("/usr/bin/dash", "sh|-e|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "sh|-eu|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "sh|-eu|-x|/x.sh|a", "/x.sh"),
        ("/usr/bin/dash", "sh|+e|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "sh|-o|noglob|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "sh|+o|noglob|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "sh|-euo|noglob|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "sh|-oe|noglob|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "sh|-s|a|b", ""),
        ("/usr/bin/dash", "sh|-is|a", ""),
        ("/usr/bin/dash", "sh|-i", ""),
        ("/usr/bin/dash", "sh|-", ""),
        ("/usr/bin/dash", "sh|-|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "sh|--|/x.sh", "/x.sh"),
        ("/usr/bin/dash", "sh|--|-x", "-x"),
        ("/usr/bin/dash", "sh|", ""),
        ("/bin/sh", "sh|x", "x"),
        ("/bin/ash", "ash|x", "x"),
        // A shebang with an argument: interpreter, the one argument, script.
        ("/usr/bin/dash", "/bin/sh|-e|/usr/local/bin/tool|arg", "/usr/local/bin/tool"),
        ("/usr/bin/dash", "/bin/sh|-ex foo|/x.sh", "/x.sh"),
    ]);
}

#[test]
fn bash() {
    check(&[
        ("/usr/bin/bash", "bash|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|-c|x.sh", ""),
        ("/usr/bin/bash", "bash|-lc|x.sh", ""),
        ("/usr/bin/bash", "bash|-ce|x.sh", ""),
        ("/usr/bin/bash", "bash|-l|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|-o|pipefail|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|-euo|pipefail|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|-euxo|pipefail|-c|x", ""),
        ("/usr/bin/bash", "bash|-O|extglob|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|+O|extglob|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|-oO|pipefail|extglob|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|--rcfile|/etc/rc|-i", ""),
        ("/usr/bin/bash", "bash|--rcfile|/etc/rc|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|--init-file|/etc/rc|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|-rcfile|/etc/rc|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|--noprofile|--norc|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|-norc|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|--posix|-e|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|--version", ""),
        ("/usr/bin/bash", "bash|--version|x.sh", ""),
        ("/usr/bin/bash", "bash|-s|x", ""),
        ("/usr/bin/bash", "bash|--|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|-x|--|x.sh|-c", "x.sh"),
        ("/usr/bin/bash", "-bash", ""),
        ("/usr/bin/bash", "bash|-|x.sh", "x.sh"),
        ("/usr/bin/bash", "bash|/dev/fd/63", "/dev/fd/63"),
        ("/bin/bash-static", "bash|x.sh", "x.sh"),
        ("/bin/rbash", "rbash|x.sh", "x.sh"),
    ]);
}

#[test]
fn zsh_and_ksh() {
    check(&[
        ("/bin/zsh", "zsh|x.zsh", "x.zsh"),
        ("/bin/zsh", "zsh|-f|x.zsh", "x.zsh"),
        ("/bin/zsh", "zsh|-fc|x", ""),
        ("/bin/zsh", "zsh|-o|extendedglob|x.zsh", "x.zsh"),
        ("/bin/zsh", "zsh|-oextendedglob|x.zsh", "x.zsh"),
        ("/bin/zsh", "zsh|+o|nomatch|x.zsh", "x.zsh"),
        ("/bin/zsh", "zsh|--no-rcs|x.zsh", "x.zsh"),
        ("/bin/zsh", "zsh|--emulate|sh|x.zsh", "x.zsh"),
        ("/bin/zsh", "zsh|-b|-x", "-x"),
        ("/bin/zsh", "zsh|-s|x", ""),
        ("/bin/zsh-5.9", "zsh|x.zsh", "x.zsh"),
        ("/bin/zsh5", "zsh|x.zsh", "x.zsh"),
        ("/bin/ksh93", "ksh|x.ksh", "x.ksh"),
        ("/bin/ksh93", "ksh|-c|x.ksh", ""),
        ("/bin/ksh", "ksh|-o|pipefail|x.ksh", "x.ksh"),
        ("/bin/ksh", "ksh|-R|/tmp/xref|x.ksh", "x.ksh"),
        ("/bin/mksh", "mksh|-o|posix|x.ksh", "x.ksh"),
        ("/bin/mksh-static", "mksh|-T|/dev/tty1|x.ksh", "x.ksh"),
        ("/bin/lksh", "lksh|-eu|x.ksh", "x.ksh"),
    ]);
}

#[test]
fn busybox_names_its_applet() {
    check(&[
        ("/bin/busybox", "sh|/x.sh", "/x.sh"),
        ("/bin/busybox", "/bin/sh|/x.sh", "/x.sh"),
        ("/bin/busybox", "ash|-e|/x.sh", "/x.sh"),
        ("/bin/busybox", "-sh", ""),
        ("/bin/busybox", "-sh|/x.sh", "/x.sh"),
        ("/bin/busybox", "sh|-c|/x.sh", ""),
        ("/bin/busybox", "sh|-euo|pipefail|/x.sh", "/x.sh"),
        ("/bin/busybox", "busybox|sh|/x.sh", "/x.sh"),
        ("/bin/busybox", "/bin/busybox|sh|/x.sh", "/x.sh"),
        ("/bin/busybox", "busybox|busybox|ash|/x.sh", "/x.sh"),
        ("/bin/busybox", "busybox|hush|/x.sh", "/x.sh"),
        ("/bin/busybox", "busybox", ""),
        ("/bin/busybox", "busybox|--list", ""),
        ("/bin/busybox", "busybox|cat|/x.sh", ""),
        ("/bin/busybox", "ls|/x.sh", ""),
        ("/bin/busybox", "wget|http://x/x.sh", ""),
        ("/bin/busybox.static", "busybox.static|sh|/x.sh", "/x.sh"),
        ("/tmp/busybox-static", "sh|/x.sh", "/x.sh"),
    ]);
}

#[test]
fn python() {
    check(&[
        ("/usr/bin/python3.11", "python3|x.py", "x.py"),
        ("/usr/bin/python3.11", "/usr/bin/python3|/usr/bin/pip|install|six", "/usr/bin/pip"),
        ("/usr/bin/python3.11", "python3|-c|import os", ""),
        ("/usr/bin/python3.11", "python3|-m|http.server", ""),
        ("/usr/bin/python3.11", "python3|-mhttp.server|x.py", ""),
        ("/usr/bin/python3.11", "python3|-um|mod", ""),
        ("/usr/bin/python3.11", "python3|-u|x.py", "x.py"),
        ("/usr/bin/python3.11", "python3|-uB|x.py|-c", "x.py"),
        ("/usr/bin/python3.11", "python3|-Ic|pass", ""),
        ("/usr/bin/python3.11", "python3|-W|ignore|x.py", "x.py"),
        ("/usr/bin/python3.11", "python3|-Wignore|x.py", "x.py"),
        ("/usr/bin/python3.11", "python3|-X|dev|x.py", "x.py"),
        ("/usr/bin/python3.11", "python3|-Xdev|x.py", "x.py"),
        ("/usr/bin/python3.11", "python3|-uW|error|x.py", "x.py"),
        ("/usr/bin/python3.11", "python3|--check-hash-based-pycs|always|x.py", "x.py"),
        ("/usr/bin/python3.11", "python3|-|x.py", ""),
        ("/usr/bin/python3.11", "python3|-u|-", ""),
        ("/usr/bin/python3.11", "python3", ""),
        ("/usr/bin/python3.11", "python3|-i|x.py", "x.py"),
        ("/usr/bin/python3.11", "python3|-V", ""),
        ("/usr/bin/python3.11", "python3|--version", ""),
        ("/usr/bin/python3.11", "python3|--|-x.py", "-x.py"),
        ("/usr/bin/python3.11", "python3|-u -X dev|x.py", "x.py"),
        ("/usr/bin/python2.7", "python|-Q|new|x.py", "x.py"),
        ("/usr/bin/python", "python|x.py", "x.py"),
        ("/usr/bin/python3.7m", "python3|x.py", "x.py"),
        ("/usr/bin/python3.13t", "python3|x.py", "x.py"),
        ("/usr/bin/python3.11-dbg", "python3|x.py", "x.py"),
        ("/opt/pypy/bin/pypy3.10", "pypy3|x.py", "x.py"),
        ("/opt/pypy/bin/pypy3", "pypy3|--jit|off|x.py", "x.py"),
    ]);
}

#[test]
fn perl() {
    check(&[
        ("/usr/bin/perl", "perl|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-w|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-wT|x.pl|-e", "x.pl"),
        ("/usr/bin/perl", "perl|-I|lib|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-Ilib|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-wI|lib|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-e|print 1|x.pl", ""),
        ("/usr/bin/perl", "perl|-E|say 1", ""),
        ("/usr/bin/perl", "perl|-lane|print", ""),
        ("/usr/bin/perl", "perl|-pi|-e|s/a/b/|f", ""),
        ("/usr/bin/perl", "perl|-pi.bak|-e|s/a/b/|f", ""),
        // perlrun: -i takes the rest of its element, so -pie edits with the extension "e" and runs the next.
        ("/usr/bin/perl", "perl|-pie|x.pl|f", "x.pl"),
        ("/usr/bin/perl", "perl|-0777|-ne|print", ""),
        ("/usr/bin/perl", "perl|-0777ne|print", ""),
        ("/usr/bin/perl", "perl|-0xFF|x.pl", "x.pl"),
        // Not all hexadecimal: Perl 5.36 reads it as -0 and -x with a directory.
        ("/usr/bin/perl", "perl|-0xFFne|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-0|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-l012|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-Mstrict|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-MList::Util=sum|-e|1", ""),
        ("/usr/bin/perl", "perl|-mstrict|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-x|x.txt", "x.txt"),
        ("/usr/bin/perl", "perl|-x/dir|x.txt", "x.txt"),
        ("/usr/bin/perl", "perl|-d|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-d:NYTProf|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-dt:Trace|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-F:|-ane|print", ""),
        ("/usr/bin/perl", "perl|-CSDA|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-S|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-T|-w|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-w -T|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-w -e|print", ""),
        ("/usr/bin/perl", "perl|-", ""),
        ("/usr/bin/perl", "perl|--|x.pl", "x.pl"),
        ("/usr/bin/perl", "perl|-v", ""),
        ("/usr/bin/perl", "perl|-V:version", ""),
        ("/usr/bin/perl", "perl", ""),
        ("/usr/bin/perl5.36.0", "perl|-w|x.pl", "x.pl"),
        ("/usr/bin/perl5.36-x86_64-linux-gnu", "perl|x.pl", "x.pl"),
    ]);
}

#[test]
fn ruby() {
    check(&[
        ("/usr/bin/ruby3.1", "ruby|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-w|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-W0|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-W:no-experimental|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-e|puts 1|x.rb", ""),
        ("/usr/bin/ruby3.1", "ruby|-ne|puts", ""),
        ("/usr/bin/ruby3.1", "ruby|-I|lib|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-Ilib|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-r|json|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-rjson|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-C|/app|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-E|UTF-8|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-Ke|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-x|x.txt", "x.txt"),
        ("/usr/bin/ruby3.1", "ruby|-xdir|x.txt", "x.txt"),
        ("/usr/bin/ruby3.1", "ruby|--enable|frozen-string-literal|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|--disable=gems|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|--disable-gems|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|--encoding|utf-8|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|--yjit|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|--version", ""),
        ("/usr/bin/ruby3.1", "ruby|-v|x.rb", "x.rb"),
        ("/usr/bin/ruby3.1", "ruby|-", ""),
        ("/usr/bin/ruby3.1", "ruby|--|x.rb", "x.rb"),
        ("/usr/bin/ruby", "/usr/bin/ruby|/usr/bin/gem|install|x", "/usr/bin/gem"),
    ]);
}

#[test]
fn node() {
    check(&[
        ("/usr/bin/node", "node|x.js", "x.js"),
        ("/usr/bin/nodejs", "nodejs|x.js|-e", "x.js"),
        ("/usr/bin/node", "node|-e|1|x.js", ""),
        ("/usr/bin/node", "node|--eval=1", ""),
        ("/usr/bin/node", "node|-p|1", ""),
        ("/usr/bin/node", "node|-pe|1", ""),
        ("/usr/bin/node", "node|--print|1", ""),
        ("/usr/bin/node", "node|-r|./hook.js|x.js", "x.js"),
        ("/usr/bin/node", "node|--require|./hook.js|x.js", "x.js"),
        ("/usr/bin/node", "node|--require=./hook.js|x.js", "x.js"),
        ("/usr/bin/node", "node|--import|./hook.mjs|x.js", "x.js"),
        ("/usr/bin/node", "node|--loader|./l.mjs|x.js", "x.js"),
        ("/usr/bin/node", "node|--experimental-loader=./l.mjs|x.js", "x.js"),
        ("/usr/bin/node", "node|-C|development|x.js", "x.js"),
        ("/usr/bin/node", "node|--inspect|x.js", "x.js"),
        ("/usr/bin/node", "node|--inspect=0.0.0.0:9229|x.js", "x.js"),
        ("/usr/bin/node", "node|--max-old-space-size=4096|x.js", "x.js"),
        ("/usr/bin/node", "node|--env-file|.env|x.js", "x.js"),
        ("/usr/bin/node", "node|--unhandled_rejections|strict|x.js", "x.js"),
        ("/usr/bin/node", "node|--enable-source-maps|x.js", "x.js"),
        ("/usr/bin/node", "node|-", ""),
        ("/usr/bin/node", "node|--|x.js", "x.js"),
        ("/usr/bin/node", "node|inspect|x.js", ""),
        ("/usr/bin/node", "node|-v", ""),
        ("/usr/bin/node", "node", ""),
        ("/usr/local/bin/node18", "node|x.js", "x.js"),
    ]);
}

#[test]
fn php() {
    check(&[
        ("/usr/bin/php8.2", "php|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|-f|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|-fx.php", "x.php"),
        ("/usr/bin/php8.2", "php|-f=x.php", "x.php"),
        ("/usr/bin/php8.2", "php|--file|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|--file=x.php", "x.php"),
        ("/usr/bin/php8.2", "php|-F|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|-r|echo 1;|x.php", ""),
        ("/usr/bin/php8.2", "php|--run|echo 1;", ""),
        ("/usr/bin/php8.2", "php|-d|memory_limit=1G|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|-dmemory_limit=1G|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|--define|a=b|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|-c|/etc/php.ini|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|-n|-q|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|-nd|a=b|-f|x.php|--|-r", "x.php"),
        ("/usr/bin/php8.2", "php|-S|127.0.0.1:80|router.php", "router.php"),
        ("/usr/bin/php8.2", "php|-t|/www|-S|:80", ""),
        ("/usr/bin/php8.2", "php|--|x.php", ""),
        ("/usr/bin/php8.2", "php|-v", ""),
        ("/usr/bin/php8.2", "php|-i", ""),
        ("/usr/bin/php8.2", "php|-l|x.php", "x.php"),
        ("/usr/sbin/php-fpm8.2", "php-fpm|x.php", ""),
        ("/usr/sbin/php8.2-fpm", "php-fpm|x.php", ""),
        ("/usr/bin/php81", "php|x.php", "x.php"),
    ]);
}

#[test]
fn lua() {
    check(&[
        ("/usr/bin/lua5.4", "lua|x.lua", "x.lua"),
        ("/usr/bin/lua5.4", "lua|-e|print(1)", ""),
        ("/usr/bin/lua5.4", "lua|-e|print(1)|x.lua", "x.lua"),
        ("/usr/bin/lua5.4", "lua|-eprint(1)|x.lua", "x.lua"),
        ("/usr/bin/lua5.4", "lua|-l|mod|x.lua", "x.lua"),
        ("/usr/bin/lua5.4", "lua|-lmod|x.lua", "x.lua"),
        ("/usr/bin/lua5.4", "lua|-i|x.lua", "x.lua"),
        ("/usr/bin/lua5.4", "lua|-E|-W|x.lua|-e", "x.lua"),
        ("/usr/bin/lua5.4", "lua|-|x.lua", ""),
        ("/usr/bin/lua5.4", "lua|--|-x.lua", "-x.lua"),
        ("/usr/bin/lua5.4", "lua|-v", ""),
        ("/usr/bin/lua", "lua|x.lua", "x.lua"),
        ("/usr/bin/luajit", "luajit|-joff|x.lua", "x.lua"),
        ("/usr/bin/luajit", "luajit|-j|off|x.lua", "x.lua"),
        ("/usr/bin/luajit", "luajit|-O3|x.lua", "x.lua"),
        ("/usr/bin/luajit", "luajit|-b|x.lua|x.out", ""),
        ("/usr/bin/luajit-2.1.0-beta3", "luajit|x.lua", "x.lua"),
    ]);
}

#[test]
fn r() {
    check(&[
        ("/usr/bin/Rscript", "Rscript|x.R|a", "x.R"),
        ("/usr/bin/Rscript", "Rscript|--vanilla|x.R", "x.R"),
        ("/usr/bin/Rscript", "Rscript|--default-packages=stats|x.R", "x.R"),
        ("/usr/bin/Rscript", "Rscript|-e|1+1", ""),
        ("/usr/bin/Rscript", "Rscript|--version", ""),
        ("/usr/lib/R/bin/exec/R", "/usr/lib/R/bin/exec/R|--no-echo|--no-restore|--file=x.R|--args|a", "x.R"),
        ("/usr/lib/R/bin/exec/R", "R|-f|x.R", "x.R"),
        ("/usr/lib/R/bin/exec/R", "R|--file=-", ""),
        ("/usr/lib/R/bin/exec/R", "R|-e|1", ""),
        ("/usr/lib/R/bin/exec/R", "R|x.R", ""),
        ("/usr/lib/R/bin/exec/R", "R|--no-save|--args|-f|x.R", ""),
        ("/usr/lib/R/bin/exec/R", "R|--encoding|utf8|-f|x.R", "x.R"),
    ]);
}

#[test]
fn java() {
    check(&[
        ("/opt/jdk/bin/java", "java|-jar|app.jar|x", "app.jar"),
        ("/opt/jdk/bin/java", "java|-Xmx1g|-Da=b|-jar|app.jar", "app.jar"),
        ("/opt/jdk/bin/java", "java|-jar|-Xmx1g|app.jar", "app.jar"),
        ("/opt/jdk/bin/java", "java|-cp|a.jar:b.jar|Main", ""),
        ("/opt/jdk/bin/java", "java|-classpath|a.jar|Main", ""),
        ("/opt/jdk/bin/java", "java|-cp|lib/x.java|Main", ""),
        ("/opt/jdk/bin/java", "java|--class-path=a.jar|X.java", "X.java"),
        ("/opt/jdk/bin/java", "java|--class-path|a.jar|-jar|app.jar", "app.jar"),
        ("/opt/jdk/bin/java", "java|-p|mods|-m|mod/Main", ""),
        ("/opt/jdk/bin/java", "java|--module-path|mods|--module|mod/Main", ""),
        ("/opt/jdk/bin/java", "java|Main|-jar|x.jar", ""),
        ("/opt/jdk/bin/java", "java|X.java|a", "X.java"),
        ("/opt/jdk/bin/java", "java|--source|17|tool", "tool"),
        ("/opt/jdk/bin/java", "java|--source=17|tool", "tool"),
        ("/opt/jdk/bin/java", "/opt/jdk/bin/java|--source 17|/usr/local/bin/tool", "/usr/local/bin/tool"),
        ("/opt/jdk/bin/java", "java|@args.txt|-jar|app.jar", "app.jar"),
        ("/opt/jdk/bin/java", "java|--add-opens|java.base/java.lang=ALL-UNNAMED|-jar|a.jar", "a.jar"),
        ("/opt/jdk/bin/java", "java|-javaagent:a.jar|-jar|app.jar", "app.jar"),
        ("/opt/jdk/bin/java", "java|-version", ""),
        ("/opt/jdk/bin/java", "java|-jar", ""),
    ]);
}

#[test]
fn further_languages() {
    check(&[
        ("/usr/bin/deno", "deno|run|--allow-all|/tmp/x.ts|y.js", "/tmp/x.ts"),
        ("/usr/bin/deno", "deno|/tmp/x.js", "/tmp/x.js"),
        ("/usr/bin/deno", "deno|eval|code()", ""),
        ("/root/.bun/bin/bun", "bun|run|start", ""),
        ("/root/.bun/bin/bun", "bun|./x.tsx", "./x.tsx"),
        ("/usr/share/dotnet/dotnet", "dotnet|/tmp/evil.dll|arg", "/tmp/evil.dll"),
        ("/usr/share/dotnet/dotnet", "dotnet|exec|--depsfile|/app/a.json|evil.dll", "evil.dll"),
        ("/usr/share/dotnet/dotnet", "dotnet|build|/src/app.csproj", ""),
        ("/usr/share/dotnet/dotnet", "dotnet|--info", ""),
        ("/usr/bin/mono-sgen", "mono|--debug|/tmp/evil.exe", "/tmp/evil.exe"),
        ("/usr/bin/julia", "julia|--project|/tmp/x.jl", "/tmp/x.jl"),
        ("/usr/bin/julia", "julia|-e|1", ""),
        ("/usr/bin/octave-cli", "octave-cli|-q|/tmp/x.m", "/tmp/x.m"),
        ("/usr/bin/gnuplot", "gnuplot|/tmp/x.gp", "/tmp/x.gp"),
        ("/usr/bin/emacs-nox", "emacs|--batch|--script|/tmp/x.el", "/tmp/x.el"),
        ("/usr/bin/emacs-nox", "emacs|/tmp/notes.txt", ""),
        ("/usr/bin/sbcl", "sbcl|--script|/tmp/x.lisp", "/tmp/x.lisp"),
    ]);
}

#[test]
fn others_are_no_interpreters() {
    check(&[
        ("/usr/bin/env", "env|-S|python3|x.py", ""),
        ("/usr/bin/env", "env|python3|x.py", ""),
        ("/usr/bin/cat", "cat|x.sh", ""),
        // The executable decides, not what argv[0] says.
        ("/usr/bin/cat", "sh|x.sh", ""),
        ("/usr/bin/dash", "cat|x.sh", "x.sh"),
        ("/usr/bin/python3-config", "python3-config|x", ""),
        ("/usr/bin/pythonista", "pythonista|x", ""),
        ("/usr/bin/perldoc", "perldoc|x", ""),
        ("/usr/bin/shred", "shred|x", ""),
        ("/usr/bin/sha256sum", "sha256sum|x", ""),
        ("", "sh|x", ""),
        ("/", "sh|x", ""),
    ]);
    assert_eq!(script_argument(b"/bin/sh", &[]), None);
    assert!(is_interpreter(b"/usr/bin/python3.12") && is_interpreter(b"/bin/busybox"));
    assert!(!is_interpreter(b"/usr/bin/ls"));
}

/// All that a command line has run: names with `+` before what options load and `?` before what is sought,
/// `<` for standard input.
fn sources(exe: &str, argv: &str) -> String {
    let argv: Vec<&[u8]> = argv.split('|').map(str::as_bytes).collect();
    let Some(program) = program(exe.as_bytes(), &argv, b"/pp:") else { return "none".to_owned() };
    let mark = |role| match role {
        Role::Script => "",
        Role::Loaded => "+",
        Role::Sought => "?",
    };
    let mut words: Vec<String> = Vec::new();
    words.extend(program.dir.map(|dir| format!("cd:{}", String::from_utf8_lossy(dir))));
    words.extend(
        program.sources.iter().map(|s| format!("{}{}", mark(s.role), String::from_utf8_lossy(&s.name))),
    );
    words.extend(program.reads_stdin.then(|| "<".to_owned()));
    words.join(" ")
}

#[test]
fn everything_that_a_command_line_has_run() {
    for (exe, argv, want) in [
        // Shells.
        ("/bin/bash", "bash", "<"),
        ("/bin/bash", "bash|-s|a", "<"),
        ("/bin/bash", "bash|-c|true", ""),
        ("/bin/bash", "bash|--version", ""),
        ("/bin/bash", "bash|--rcfile|/tmp/rc|-i", "+/tmp/rc <"),
        ("/bin/bash", "bash|--rcfile|/tmp/rc|-i|-c|true", "+/tmp/rc"),
        ("/bin/bash", "bash|--init-file|/tmp/rc|x.sh", "x.sh +/tmp/rc"),
        ("/bin/bash", "bash|--norc|x.sh", "x.sh"),
        ("/bin/csh", "csh|-f|/tmp/x", "/tmp/x"),
        ("/bin/tcsh", "tcsh|-c|/tmp/x", ""),
        ("/bin/tcsh", "tcsh|-b|-x", "-x"),
        ("/usr/bin/fish", "fish|/tmp/x.fish", "/tmp/x.fish"),
        ("/usr/bin/fish", "fish|-C|set a|/tmp/x.fish", "/tmp/x.fish"),
        ("/usr/bin/fish", "fish|--command=ls|x", ""),
        ("/bin/ksh93", "ksh|/tmp/x", "/tmp/x"),
        ("/bin/busybox", "sh", "<"),
        ("/bin/busybox", "awk|-f|/tmp/x|data", "+/tmp/x"),
        ("/bin/busybox", "busybox|sed|-f|/tmp/x", "+/tmp/x"),
        ("/bin/busybox", "cat|/tmp/x", "none"),
        // Filters: other arguments are data.
        ("/usr/bin/gawk", "awk|-f|/tmp/x|data", "+/tmp/x"),
        ("/usr/bin/gawk", "awk|-f/tmp/x|data", "+/tmp/x"),
        ("/usr/bin/gawk", "awk|--file=/tmp/x|data", "+/tmp/x"),
        ("/usr/bin/gawk", "gawk|-i|lib|-f|/tmp/x", "+lib +/tmp/x"),
        ("/usr/bin/gawk", "gawk|-E|/tmp/x|-f|y", "/tmp/x"),
        ("/usr/bin/mawk", "awk|-v|a=/tmp/x|-F:|{print}|/tmp/data", ""),
        ("/usr/bin/mawk", "awk|{print}|-f", ""),
        ("/usr/bin/sed", "sed|-n|-f|/tmp/x|data", "+/tmp/x"),
        ("/usr/bin/sed", "sed|-nf/tmp/x|data", "+/tmp/x"),
        ("/usr/bin/sed", "sed|data|-f|/tmp/x", "+/tmp/x"),
        ("/usr/bin/sed", "sed|-i|s/a/b/|/tmp/data", ""),
        ("/usr/bin/sed", "sed|-i.bak|-e|s/a/b/|/tmp/data", ""),
        // Make.
        ("/usr/bin/make", "make|-f|/tmp/mk|all", "+/tmp/mk"),
        ("/usr/bin/make", "make|-C|/tmp/src|all", "cd:/tmp/src ?GNUmakefile ?makefile ?Makefile"),
        ("/usr/bin/make", "make|-j4", "?GNUmakefile ?makefile ?Makefile"),
        ("/usr/bin/make", "make|-f|-", "<"),
        ("/usr/bin/make", "make|--version", "?GNUmakefile ?makefile ?Makefile"),
        // Languages.
        ("/usr/bin/tclsh8.6", "tclsh|/tmp/x.tcl|a", "/tmp/x.tcl"),
        ("/usr/bin/tclsh8.6", "tclsh", "<"),
        ("/usr/bin/expect", "expect|-f|/tmp/x", "/tmp/x"),
        ("/usr/bin/expect", "expect|/tmp/x", "/tmp/x"),
        ("/usr/bin/expect", "expect|-c|puts 1", "<"),
        ("/usr/bin/python3.11", "python3|-m|a.b", "?a/b ?a ?/pp/a/b ?/pp/a"),
        (
            "/usr/bin/python3.11",
            "python3|-mhttp.server|8000",
            "?http/server ?http ?/pp/http/server ?/pp/http",
        ),
        ("/usr/bin/python3.11", "python3|-c|import x", ""),
        ("/usr/bin/python3.11", "python3|-|a", "<"),
        ("/usr/bin/perl", "perl|-I|/tmp/l|-MEvil::X|-e|1", "?/tmp/l/Evil/X ?/tmp/l"),
        ("/usr/bin/perl", "perl|-MEvil=f|-I/tmp/l|x.pl", "x.pl ?/tmp/l/Evil ?/tmp/l"),
        ("/usr/bin/perl", "perl|-Mlib=/tmp/l|-e|1", "?/tmp/l"),
        ("/usr/bin/perl", "perl|-MList::Util|-e|1", ""),
        ("/usr/bin/perl", "perl|-x|/tmp/x.txt", "/tmp/x.txt"),
        ("/usr/bin/perl", "perl", "<"),
        ("/usr/bin/ruby3.1", "ruby|-r|/tmp/t.rb|-e|1", "+/tmp/t.rb"),
        ("/usr/bin/ruby3.1", "ruby|-e|1|-r/tmp/t.rb", "+/tmp/t.rb"),
        ("/usr/bin/ruby3.1", "ruby|-rjson|-e|1", ""),
        ("/usr/bin/ruby3.1", "ruby|-I|/tmp/l|-rt|x.rb", "x.rb ?/tmp/l/t ?/tmp/l"),
        ("/usr/bin/ruby3.1", "ruby|-C|/tmp|x.rb", "cd:/tmp x.rb"),
        ("/usr/bin/node", "node|-r|/tmp/r.js|/srv/ok.js", "/srv/ok.js +/tmp/r.js"),
        ("/usr/bin/node", "node|--require=./r.js|-e|1", "+./r.js"),
        ("/usr/bin/node", "node|-e|1|-r|/tmp/r.js", "+/tmp/r.js"),
        ("/usr/bin/node", "node|--import|file:///tmp/r.mjs|x.js", "x.js +/tmp/r.mjs"),
        ("/usr/bin/node", "node|-r|dotenv/config|x.js", "x.js"),
        ("/usr/bin/node", "node", "<"),
        ("/usr/bin/php8.2", "php|-d|auto_prepend_file=/tmp/p.php|x.php", "x.php +/tmp/p.php"),
        ("/usr/bin/php8.2", "php|-dauto_append_file=\"/tmp/p.php\"|-r|echo 1;", "+/tmp/p.php"),
        ("/usr/bin/php8.2", "php|-d|extension=/tmp/e.so|x.php", "x.php +/tmp/e.so"),
        ("/usr/bin/php8.2", "php|-d|extension=curl|-d|memory_limit=1G|x.php", "x.php"),
        ("/usr/bin/php8.2", "php|-r|echo 1;", ""),
        ("/usr/bin/php8.2", "php|-S|:80|-t|/tmp/doc", "?/tmp/doc"),
        ("/usr/bin/php8.2", "php|-S|:80", "?."),
        ("/usr/bin/php8.2", "php|-t|/www|-S|:80|r.php", "r.php ?/www"),
        ("/usr/bin/php8.2", "php|--|a", "<"),
        ("/usr/bin/lua5.4", "lua|-l|a.b|x.lua", "x.lua ?a/b"),
        ("/usr/bin/lua5.4", "lua|-l|m=a.b|-", "?a/b <"),
        ("/usr/bin/vim.tiny", "vim.tiny|-es|-S|/tmp/v.vim", "+/tmp/v.vim"),
        ("/usr/bin/vim.basic", "vim|-u|NONE|/etc/hosts", "+NONE"),
        ("/usr/bin/vim.basic", "vim|/tmp/notes", ""),
        ("/usr/bin/sqlite3", "sqlite3|-init|/tmp/i.sql|:memory:|.quit", "+/tmp/i.sql"),
        ("/usr/bin/sqlite3", "sqlite3|/tmp/db|select 1", ""),
        ("/usr/bin/gdb", "gdb|-batch|-x|/tmp/g|/bin/true", "+/tmp/g"),
        ("/usr/bin/gdb", "gdb|-ex|run|/bin/true", ""),
        ("/usr/bin/pwsh", "pwsh|-NoProfile|-File|/tmp/x.ps1", "/tmp/x.ps1"),
        ("/usr/bin/pwsh", "pwsh|-Command|Get-Date", ""),
        ("/usr/bin/guile-3.0", "guile|-s|/tmp/x.scm", "/tmp/x.scm"),
        ("/opt/jdk/bin/java", "java|-cp|/a.jar:/lib/*:/classes|Main", "?/a.jar ?/lib ?/classes"),
        ("/opt/jdk/bin/java", "java|-javaagent:/tmp/a.jar=x|-jar|app.jar", "app.jar ?/tmp/a.jar"),
        ("/opt/jdk/bin/java", "java|@/tmp/args|Main", "?/tmp/args"),
        ("/usr/bin/Rscript", "Rscript|x.R", "x.R"),
        ("/lib/ld-musl-x86_64.so.1", "ld|--argv0|sh|/bin/busybox|/tmp/x", "/bin/busybox"),
    ] {
        assert_eq!(sources(exe, argv), want, "{exe} {argv}");
    }
}

#[test]
fn no_command_line_has_more_sources_than_are_looked_at() {
    let path = (0..100).map(|i| format!("/lib/{i}.jar")).collect::<Vec<_>>().join(":");
    let argv = [&b"java"[..], b"-cp", path.as_bytes(), b"-jar", b"/tmp/x.jar"];
    let program = program(b"/usr/bin/java", &argv, b"").unwrap();
    assert_eq!(program.sources.len(), MAX_SOURCES);
    assert_eq!(program.script().unwrap().name, &b"/tmp/x.jar"[..]);
}

#[test]
fn arguments_that_were_cut_say_whether_they_say_what_is_run() {
    for (exe, argv, want) in [
        ("/usr/bin/python3", "python3|-X|aaaa", false),
        ("/usr/bin/python3", "python3|-X|a|x.py|aaaa", true),
        ("/usr/bin/python3", "python3|-c|aaaa", true),
        ("/usr/bin/perl", "perl|-Iaaaa", false),
        ("/usr/bin/perl", "perl|-e|aaaa", true),
        ("/usr/bin/awk", "awk|aaaa", true),
        ("/usr/bin/java", "java|-Da=b", false),
        ("/usr/bin/java", "java|-cp|/a.jar:/b", true),
        ("/usr/bin/make", "make|CFLAGS=-O", true),
        ("/usr/bin/sqlite3", "sqlite3|db|select", true),
        ("/usr/bin/vim", "vim|-c|aaaa", false),
        ("/usr/bin/bash", "bash|-o|posix|-o", false),
    ] {
        let argv: Vec<&[u8]> = argv.split('|').map(str::as_bytes).collect();
        assert_eq!(program(exe.as_bytes(), &argv, b"").unwrap().is_whole, want, "{exe} {argv:?}");
    }
}

#[test]
fn arguments_and_what_is_attached_to_options_may_be_paths() {
    for (argument, want) in [
        ("/tmp/x", Some("/tmp/x")),
        ("x.conf", Some("x.conf")),
        ("--config=/tmp/x", Some("/tmp/x")),
        ("--config", None),
        ("-f/tmp/x", Some("/tmp/x")),
        ("-x=y", Some("y")),
        ("-f", None),
        ("-", None),
        ("if=/tmp/x", Some("/tmp/x")),
        ("a=", Some("a=")),
        ("https://x/y", None),
        (".", None),
        ("", None),
    ] {
        assert_eq!(named_path(argument.as_bytes()), want.map(str::as_bytes), "{argument}");
    }
}

#[test]
fn what_was_executed_is_interpreted_if_the_kernel_has_put_its_name_behind_another() {
    for (filename, argv, is_cut, want) in [
        ("/tmp/x", "/usr/bin/awk|-f|/tmp/x", false, true),
        ("/tmp/x", "/usr/bin/tclsh|/tmp/x|a", false, true),
        ("./x", "/bin/sh|./x", false, true),
        // A script whose interpreter is a script.
        ("/tmp/x", "/bin/sh|/tmp/i|/tmp/x", false, true),
        ("/dev/fd/3", "/bin/sh|/dev/fd/3", false, true),
        ("/usr/bin/ls", "ls|/tmp/x", false, false),
        ("/tmp/x", "/tmp/x|/tmp/y", false, false),
        ("", "sh|", false, false),
        ("/tmp/long", "/bin/sh|/tmp/lo", true, true),
        ("/tmp/long", "/bin/sh|/tmp/lo", false, false),
        ("/tmp/x", "a|b|b|b|b|b|b|b|b|b|b|/tmp/x", false, false),
    ] {
        let argv: Vec<&[u8]> = argv.split('|').map(str::as_bytes).collect();
        assert_eq!(is_interpreted(filename.as_bytes(), &argv, is_cut), want, "{filename} {argv:?}");
    }
}

#[test]
fn env_leaves_a_known_interpreters_script_to_that_ones_own_exec() {
    for (exe, argv, want) in [
        ("/usr/bin/env", "/usr/bin/env|python3|/tmp/x", true),
        ("/usr/bin/env", "/usr/bin/env|-S python3 -u|/tmp/x", true),
        ("/usr/bin/env", "env|-i|A=b|/usr/bin/bash|/tmp/x", true),
        ("/bin/busybox", "/usr/bin/env|sh|/tmp/x", true),
        ("/usr/bin/env", "env|-u|python3|deno|/tmp/x", false),
        ("/usr/bin/env", "env|-S -C /bin/sh deno|/tmp/x", false),
        ("/bin/busybox", "/usr/bin/env|bash|/tmp/x", true),
        ("/usr/bin/env", "/usr/bin/env|deno|/tmp/x", false),
        ("/usr/bin/env", "/usr/bin/env", false),
        ("/usr/bin/nice", "nice|python3|/tmp/x", false),
    ] {
        let argv: Vec<&[u8]> = argv.split('|').map(str::as_bytes).collect();
        assert_eq!(is_env_for_interpreter(exe.as_bytes(), &argv), want, "{exe} {argv:?}");
    }
}

#[test]
fn shells_that_run_what_has_no_shebang_themselves() {
    for (exe, want) in [
        ("/usr/bin/bash", true),
        ("/bin/rbash", true),
        ("/bin/ksh93", true),
        ("/bin/dash", false),
        ("/bin/busybox", false),
        ("/bin/zsh", false),
        ("/bin/mksh", false),
        ("/usr/bin/python3", false),
    ] {
        assert_eq!(runs_unknown_formats(exe.as_bytes()), want, "{exe}");
    }
}

proptest! {
    #[test]
    fn never_panics_and_answers_from_argv(
        exe in prop_oneof![
            Just("/bin/sh"), Just("/bin/bash"), Just("/bin/zsh"), Just("/bin/ksh"), Just("/bin/busybox"),
            Just("/usr/bin/python3.11"), Just("/usr/bin/perl"), Just("/usr/bin/ruby"), Just("/usr/bin/node"),
            Just("/usr/bin/php"), Just("/usr/bin/luajit"), Just("/usr/bin/Rscript"), Just("R"), Just("java"),
        ],
        argv in prop::collection::vec(
            prop_oneof!["[-+]{0,2}[a-zA-Z0=: ]{0,6}", prop::collection::vec(any::<u8>(), 0..12).prop_map(
                |b| String::from_utf8_lossy(&b).into_owned())], 0..12),
    ) {
        let argv: Vec<&[u8]> = argv.iter().map(|a| a.as_bytes()).collect();
        if let Some(script) = script_argument(exe.as_bytes(), &argv) {
            prop_assert!(argv.iter().skip(1).any(|a| a.ends_with(script)));
            prop_assert!(!script.is_empty());
        }
    }

    #[test]
    fn any_executable_name_is_fine(exe in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = script_argument(&exe, &[b"x", b"y"]);
    }
}
