//! A package's name out of the argument that names it: versions, architectures, extras, paths and URLs taken
//! off.
//!
//! Every answer is a part of the argument itself. What is a path or URL and does not tell a name by its
//! format (a folder, a requirements file) gives none.

/// How a package manager's arguments spell packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A name and nothing else.
    Plain,
    /// apt: `libc6:amd64=2.36`, `vim/testing`, `nano-`, `./x.deb`.
    Apt,
    /// dpkg: `libc6:amd64`, `x.deb`.
    Dpkg,
    /// apk: `curl>8`, `nginx@edge`, `!busybox`.
    Apk,
    /// yum, dnf, rpm: `bash-5.1.8-6.el9.x86_64`, `bash.x86_64`, `@core`.
    Rpm,
    /// zypper: as rpm, with `repo:name`, `pattern:name`, `+name`, `name>=1`.
    Zypper,
    /// pacman: `extra/vim`, `vim>=9`.
    Pacman,
    /// PEP 508 requirements: `six[x]>=1; python_version<"3"`, `six @ https://…`.
    Pip,
    /// conda match specs: `conda-forge::numpy=1.26=py312`.
    Conda,
    /// npm: `@scope/x@1`, `x@npm:y@2`, `user/repo`.
    Npm,
    /// RubyGems: `rails:7.1`.
    Gem,
    /// Cargo: `ripgrep@14`.
    Crate,
    /// Go modules and packages: `example.org/x/y@latest`.
    Go,
    /// Composer: `vendor/name:^1`.
    Composer,
    /// CPAN: `Foo::Bar@1.2`, `AUTHOR/Foo-1.0.tar.gz`.
    Cpan,
    /// LuaRocks: `luasocket`, `user/rock`, `x-1.0-1.rockspec`.
    Rock,
}

/// The name in `operand`; `None` where it tells none.
pub(super) fn reduce(form: Form, operand: &[u8]) -> Option<&[u8]> {
    let operand = operand.trim_ascii();
    if form == Form::Pip {
        if let Some(name) = direct_reference(operand) {
            return Some(name);
        }
    }
    let name = if is_url(operand) {
        url(form, operand)
    } else if is_path(form, operand) {
        file(form, base_name(operand))
    } else {
        spec(form, operand)
    };
    name.filter(|n| !n.is_empty() && !n.starts_with(b"-"))
}

fn base_name(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// `name[extra] @ URL` (PEP 508).
fn direct_reference(operand: &[u8]) -> Option<&[u8]> {
    let at = operand.iter().position(|b| *b == b'@')?;
    let name = until(operand.get(..at)?, b"[").trim_ascii();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    (!name.is_empty() && name != b"git" && name.iter().all(plain)).then_some(name)
}

fn is_url(operand: &[u8]) -> bool {
    let vcs = [&b"git+"[..], b"hg+", b"svn+", b"bzr+", b"git@", b"file:", b"git:"];
    vcs.iter().any(|p| operand.starts_with(p)) || operand.windows(3).any(|w| w == b"://")
}

fn url(form: Form, url: &[u8]) -> Option<&[u8]> {
    let (head, fragment) = match url.iter().position(|b| *b == b'#') {
        Some(at) => (url.get(..at).unwrap_or(url), url.get(at + 1..).unwrap_or_default()),
        None => (url, &b""[..]),
    };
    // pip's `#egg=name[extra]&subdirectory=x`.
    if let Some(egg) = fragment.split(|b| *b == b'&').find_map(|part| part.strip_prefix(b"egg=")) {
        return Some(until(egg, b"[<>=!~ "));
    }
    let head = until(head, b"?");
    let segment = base_name(head);
    if let Some(name) = file(form, segment) {
        return Some(name);
    }
    let repository =
        !head.starts_with(b"http") || segment.ends_with(b".git") || matches!(form, Form::Npm | Form::Crate);
    // `repo.git@v1.0`
    let segment = segment.rsplit(|b| *b == b':').next().unwrap_or(segment);
    let segment = until(segment, b"@");
    (repository && !head.starts_with(b"file:")).then(|| segment.strip_suffix(b".git").unwrap_or(segment))
}

/// Whether an argument is a file or folder. Each manager has its own way to tell.
fn is_path(form: Form, operand: &[u8]) -> bool {
    let explicit = [&b"/"[..], b"./", b"../", b"~/"].iter().any(|p| operand.starts_with(p));
    // Extras may follow pip's folder: `.[test]`.
    let folder = until(operand, b"[");
    if explicit || folder == b"." || folder == b".." {
        return true;
    }
    let slash = operand.contains(&b'/');
    match form {
        Form::Go | Form::Composer | Form::Plain | Form::Crate => false,
        Form::Pip | Form::Gem | Form::Rpm | Form::Dpkg | Form::Apk | Form::Conda => {
            slash && !operand.windows(2).any(|w| w == b"::") || has_extension(operand)
        }
        _ => has_extension(operand),
    }
}

const EXTENSIONS: &[&[u8]] = &[
    b".deb",
    b".udeb",
    b".ddeb",
    b".dsc",
    b".changes",
    b".rpm",
    b".apk",
    b".whl",
    b".egg",
    b".gem",
    b".rock",
    b".rockspec",
    b".conda",
    b".pkg.tar.zst",
    b".pkg.tar.xz",
    b".pkg.tar.gz",
    b".pkg.tar",
    b".tar.gz",
    b".tar.bz2",
    b".tar.xz",
    b".tar",
    b".tgz",
    b".zip",
];

fn extension(name: &[u8]) -> Option<(&[u8], &'static [u8])> {
    EXTENSIONS.iter().find_map(|ext| Some((name.strip_suffix(*ext)?, *ext)))
}

fn has_extension(name: &[u8]) -> bool {
    extension(name).is_some()
}

/// The package in a file of this base name; `None` where the format of the name does not say.
fn file(form: Form, name: &[u8]) -> Option<&[u8]> {
    let (stem, ext) = extension(name)?;
    Some(match ext {
        // deb(5), dpkg-name(1): name_version_arch.
        b".deb" | b".udeb" | b".ddeb" | b".dsc" | b".changes" => until(stem, b"_"),
        b".rpm" => nevra(stem),
        // abuild: name-version-rN.
        b".apk" => {
            let cut = drop_dashed(stem, 2);
            let release = stem.rsplit(|b| *b == b'-').next().unwrap_or_default();
            match release {
                [b'r', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => cut,
                _ => stem,
            }
        }
        // PEP 427 and the egg format: no dash in a name.
        b".whl" | b".egg" => until(stem, b"-"),
        // LuaRocks: name-version-revision, then the architecture after a dot.
        b".rock" | b".rockspec" => {
            let cut = stem.strip_suffix(b".src").or_else(|| stem.strip_suffix(b".all")).unwrap_or(stem);
            drop_dashed(cut, 2)
        }
        b".conda" => drop_dashed(stem, 2),
        b".tar.bz2" if form == Form::Conda => drop_dashed(stem, 2),
        // makepkg: name-version-release-arch.
        b".pkg.tar.zst" | b".pkg.tar.xz" | b".pkg.tar.gz" | b".pkg.tar" => drop_dashed(stem, 3),
        _ => before_version(stem),
    })
}

/// Without the last `count` parts between dashes; whole where there are not as many.
fn drop_dashed(stem: &[u8], count: usize) -> &[u8] {
    let mut left = stem;
    for _ in 0..count {
        match left.iter().rposition(|b| *b == b'-') {
            Some(at) if at > 0 => left = left.get(..at).unwrap_or(left),
            _ => return stem,
        }
    }
    left
}

/// Up to the first dash before a number that a dot, or nothing, follows: `left-pad-1.3.0`, `base-64-1.0`,
/// `x-2`.
fn before_version(stem: &[u8]) -> &[u8] {
    for (at, _) in stem.iter().enumerate().filter(|(at, b)| **b == b'-' && *at > 0) {
        let tail = stem.get(at + 1..).unwrap_or_default();
        let tail = tail.strip_prefix(b"v").unwrap_or(tail);
        let digits = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits > 0 && matches!(tail.get(digits), None | Some(b'.')) {
            return stem.get(..at).unwrap_or(stem);
        }
    }
    stem
}

const RPM_ARCHES: &[&[u8]] = &[
    b"x86_64",
    b"noarch",
    b"aarch64",
    b"i686",
    b"i586",
    b"i386",
    b"ppc64le",
    b"s390x",
    b"src",
    b"nosrc",
    b"armv7hl",
    b"riscv64",
    b"x86_64_v2",
];

/// rpm's name-[epoch:]version-release.arch; the parts at the end may be left out.
fn nevra(text: &[u8]) -> &[u8] {
    let arch = text.iter().rposition(|b| *b == b'.').filter(|at| {
        let arch = text.get(at + 1..).unwrap_or_default();
        RPM_ARCHES.contains(&arch)
    });
    let text = arch.and_then(|at| text.get(..at)).unwrap_or(text);
    let numeric = |part: &[u8]| part.first().is_some_and(u8::is_ascii_digit);
    let mut parts = text.rsplit(|b| *b == b'-');
    let (Some(last), Some(second)) = (parts.next(), parts.next()) else { return text };
    if numeric(last) && numeric(second) && parts.next().is_some() {
        return drop_dashed(text, 2);
    }
    // A number alone may belong to the name (gcc-toolset-12); one with dots is a version.
    if numeric(last) && last.contains(&b'.') {
        return drop_dashed(text, 1);
    }
    text
}

fn spec(form: Form, operand: &[u8]) -> Option<&[u8]> {
    let name = match form {
        Form::Plain | Form::Rock => operand,
        Form::Apt => apt(operand)?,
        Form::Dpkg => until(operand, b":"),
        Form::Apk => until(operand.strip_prefix(b"!").unwrap_or(operand), b"=<>~@"),
        Form::Rpm => nevra(until(operand, b" <>=")),
        Form::Zypper => {
            let bare = operand.strip_prefix(b"+").or_else(|| operand.strip_prefix(b"~"));
            let bare = bare.or_else(|| operand.strip_prefix(b"!")).unwrap_or(operand);
            nevra(until(after_last(bare, b':'), b" <>="))
        }
        Form::Pacman => until(after_last(operand, b'/'), b" <>="),
        Form::Pip => until(operand, b"[<>=!~;@ ("),
        Form::Conda => until(after_last(operand, b':'), b"[<>=!~ "),
        Form::Npm => npm(operand)?,
        Form::Gem => until(operand, b":"),
        Form::Crate => until(operand, b"@"),
        Form::Go => until(operand, b"@"),
        Form::Composer => {
            let name = until(operand, b":= ");
            // Versions stand alone too (`require vendor/name ^1.0`).
            let named = name.contains(&b'/') || name.starts_with(b"ext-") || name.starts_with(b"lib-");
            let plain = name.first().is_some_and(u8::is_ascii_alphabetic);
            return (named && plain).then_some(name);
        }
        Form::Cpan => until(operand, b"@~"),
    };
    Some(name)
}

/// apt(8): a `+` or `-` at the end says what to do with the package. A name may end in `+` itself (g++).
fn apt(operand: &[u8]) -> Option<&[u8]> {
    // Patterns: apt-patterns(7).
    if operand.starts_with(b"?") || operand.starts_with(b"~") {
        return None;
    }
    let name = until(operand, b"=/:&");
    let name = name.strip_suffix(b"^").or_else(|| name.strip_suffix(b"_")).unwrap_or(name);
    Some(match name {
        [head @ .., b'-'] => head,
        [.., b'+', b'+'] => name,
        [head @ .., b'+'] => head,
        _ => name,
    })
}

fn npm(operand: &[u8]) -> Option<&[u8]> {
    if operand.starts_with(b"link:") || operand.starts_with(b"workspace:") {
        return None;
    }
    let scoped = operand.starts_with(b"@");
    if !scoped && operand.contains(&b'/') && !operand.contains(&b'@') {
        // `user/repo#branch`, `github:user/repo`.
        return Some(base_name(until(operand, b"#")));
    }
    let at = operand.iter().skip(1).position(|b| *b == b'@').map(|at| at + 1);
    let Some(at) = at else { return Some(operand) };
    // `alias@npm:real@1` installs `real`.
    if let Some(real) = operand.get(at + 1..).and_then(|v| v.strip_prefix(b"npm:")) {
        let end = real.iter().skip(1).position(|b| *b == b'@').map_or(real.len(), |at| at + 1);
        return real.get(..end);
    }
    operand.get(..at)
}

fn until<'a>(text: &'a [u8], any: &[u8]) -> &'a [u8] {
    let end = text.iter().position(|b| any.contains(b)).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

fn after_last(text: &[u8], byte: u8) -> &[u8] {
    text.rsplit(|b| *b == byte).next().unwrap_or(text)
}
