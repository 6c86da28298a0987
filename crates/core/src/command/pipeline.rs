//! What a program in a pipeline does to the text that an interpreter at its end runs.

use crate::command::grammar;
use crate::command::interpreter::base_name;

/// Most arguments that are looked at for what makes an interpreter's code a download.
const MAX_ARGUMENTS: usize = 16;

/// The part of a program in a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It brings in what is not in the container, or what nobody can read as it is: a download, a decoded
    /// text.
    Source,
    /// It hands on what it reads.
    Filter,
}

/// The part of a program in a pipeline, by its executable and arguments, and its name; `None` for one that
/// makes its text itself, or of which it is not known.
pub fn part<'a>(exe: &'a [u8], argv: &[&'a [u8]]) -> Option<(Part, &'a [u8])> {
    let name = base_name(exe);
    let (name, arguments) = match grammar::is_busybox(name) {
        // The applet is `argv[0]`, or follows busybox's own name.
        true => {
            let at = argv.iter().position(|argument| !grammar::is_busybox(base_name(argument)))?;
            (base_name(argv.get(at)?), argv.get(at + 1..)?)
        }
        false => (name, argv.get(1..)?),
    };
    let has = |options: &[&[u8]]| arguments.iter().any(|argument| options.contains(argument));
    let part = match name {
        b"curl" | b"wget" | b"wget2" | b"aria2c" | b"axel" | b"lwp-request" | b"lwp-download" | b"GET"
        | b"lynx" | b"links" | b"elinks" | b"w3m" | b"http" | b"https" | b"xh" | b"fetch" | b"ftp"
        | b"lftp" | b"tftp" | b"ftpget" | b"smbget" | b"nc" | b"ncat" | b"netcat" | b"nc.openbsd"
        | b"nc.traditional" | b"socat" | b"socat1" | b"ssh" | b"telnet" => Part::Source,
        b"openssl" if has(&[b"s_client", b"-d"]) => Part::Source,
        b"base64" | b"base32" | b"basenc" if has(&[b"-d", b"-D", b"-di", b"--decode", b"--base64"]) => {
            Part::Source
        }
        b"xxd" if arguments.iter().any(|a| a.starts_with(b"-r") || a.ends_with(b"r")) => Part::Source,
        b"uudecode" => Part::Source,
        b"cat" | b"tac" | b"tee" | b"head" | b"tail" | b"tr" | b"sed" | b"awk" | b"gawk" | b"mawk"
        | b"cut" | b"rev" | b"dd" | b"pv" | b"gunzip" | b"gzip" | b"zcat" | b"bunzip2" | b"bzip2"
        | b"bzcat" | b"unxz" | b"xz" | b"xzcat" | b"zstd" | b"zstdcat" | b"unzstd" | b"lz4" | b"lz4cat"
        | b"tar" | b"bsdtar" | b"openssl" | b"gpg" | b"base64" | b"base32" | b"basenc" | b"xxd" | b"grep"
        | b"sort" | b"iconv" | b"dos2unix" | b"stdbuf" => Part::Filter,
        _ if grammar::by_name(name).is_some()
            && arguments.iter().take(MAX_ARGUMENTS).any(|a| downloads(a)) =>
        {
            Part::Source
        }
        _ => return None,
    };
    Some((part, name))
}

/// Whether a text has what code that talks to another machine has.
fn downloads(text: &[u8]) -> bool {
    let words: [&[u8]; 8] =
        [b"http://", b"https://", b"ftp://", b"urllib", b"/dev/tcp/", b"socket", b"LWP::", b"open-uri"];
    words.iter().any(|word| text.windows(word.len()).any(|part| part == *word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_and_decoders_are_sources_and_filters_hand_on() {
        use Part::{Filter, Source};
        for (exe, argv, want) in [
            ("/usr/bin/curl", "curl|-s|http://x", Some((Source, "curl"))),
            ("/bin/busybox", "wget|-qO-|http://x", Some((Source, "wget"))),
            ("/bin/busybox", "/bin/busybox|nc|10.0.0.1|80", Some((Source, "nc"))),
            (
                "/usr/bin/python3.11",
                "python3|-c|import urllib.request as u;...",
                Some((Source, "python3.11")),
            ),
            ("/usr/bin/bash", "bash|-c|cat < /dev/tcp/10.0.0.1/80", Some((Source, "bash"))),
            ("/usr/bin/openssl", "openssl|s_client|-connect|x:443", Some((Source, "openssl"))),
            ("/usr/bin/base64", "base64|-d", Some((Source, "base64"))),
            ("/usr/bin/base64", "base64", Some((Filter, "base64"))),
            ("/usr/bin/xxd", "xxd|-r|-p", Some((Source, "xxd"))),
            ("/usr/bin/tee", "tee|/tmp/log", Some((Filter, "tee"))),
            ("/bin/busybox", "cat|/etc/x", Some((Filter, "cat"))),
            ("/usr/bin/gzip", "gzip|-dc", Some((Filter, "gzip"))),
            // They make their text themselves.
            ("/usr/bin/echo", "echo|true", None),
            ("/usr/bin/python3.11", "python3|gen.py", None),
            ("/usr/bin/printf", "printf|http://x", None),
            ("/bin/busybox", "echo|http://x", None),
            ("/bin/busybox", "busybox", None),
            ("/usr/bin/curl", "", None),
        ] {
            let argv: Vec<&[u8]> = argv.split('|').filter(|a| !a.is_empty()).map(str::as_bytes).collect();
            let got = part(exe.as_bytes(), &argv);
            let got = got.map(|(part, name)| (part, std::str::from_utf8(name).unwrap()));
            assert_eq!(got, want, "{exe} {argv:?}");
        }
    }
}
