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
        ("/usr/bin/php8.2", "php|-S|127.0.0.1:80|router.php", ""),
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
