//! Which flags a guest may give the host's compiler: those that change how a text is read and what code is made of it.
//! Others have it load plugins, write files or read options from elsewhere.

use super::super::error::CompileError;

/// Flags that take their value joined or as the next word.
const WITH_VALUE: [&str; 8] = ["-D", "-U", "-include", "-imacros", "-iquote", "-isystem", "-idirafter", "-I"];
/// Beginnings of flags that are harmless with any ending.
const BEGINNINGS: [&str; 4] = ["-std=", "-O", "-mcpu=", "-target-cpu="];
/// `-f` flags that write or load files though they have no value.
const FILES: [&str; 7] = ["modules", "plugin", "profile", "coverage", "save-", "time-", "crash-diagnostics"];
const WHOLE: [&str; 8] = ["-g", "-g0", "-g1", "-g2", "-g3", "-w", "-pedantic", "-nostdinc"];

/// Refuses flags that are not known to be harmless.
pub(super) fn check(flags: &[String]) -> Result<(), CompileError> {
    let mut flags = flags.iter();
    while let Some(flag) = flags.next() {
        // The value is a word of its own; a missing one is the compiler's to complain about.
        if WITH_VALUE.contains(&flag.as_str()) {
            flags.next();
        } else if !harmless(flag) {
            return Err(CompileError::Host {
                why: format!("the host does not compile the texts of a guest with the flag '{flag}'"),
            });
        }
    }
    Ok(())
}

fn harmless(flag: &str) -> bool {
    let joined = |names: &[&str]| names.iter().any(|name| flag.starts_with(name));
    if joined(&WITH_VALUE) || joined(&BEGINNINGS) || WHOLE.contains(&flag) {
        return true;
    }
    let plain = |rest: &str| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+".contains(&b));
    if let Some(rest) = flag.strip_prefix("-f") {
        let name = rest.strip_prefix("no-").unwrap_or(rest);
        return plain(rest) && !FILES.iter().any(|file| name.starts_with(file));
    }
    // `-Wl,...` and the like hand words to other programs.
    flag.strip_prefix("-W").is_some_and(|rest| plain(rest.replace('=', "").as_str()))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_what_changes_the_code_passes() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for line in [
            "-DX=1 -D Y -UZ -I include -Iinclude -include a.h -iquote d",
            "-O2 -std=gnu11 -Wall -Wno-error=unused -Werror -fno-builtin -funroll-loops -mcpu=v3 -g",
        ] {
            check(&words(line)).unwrap();
        }
        for flag in [
            "-o",
            "-o/etc/passwd",
            "-MF",
            "-MD",
            "-MJx",
            "-fplugin=/x.so",
            "-fpass-plugin=x",
            "-Xclang",
            "-load",
            "-mllvm",
            "@file",
            "/etc/passwd",
            "-Wl,-x",
            "-Wp,-MD,x",
            "-fmodules",
            "-fno-modules-cache",
            "-B/x",
            "--config=x",
            "-save-temps",
            "-fsave-optimization-record",
            "-ftime-trace",
            "-fcrash-diagnostics-dir=x",
            "-E",
            "-S",
            "-x",
            "--serialize-diagnostics",
            "-ivfsoverlay",
            "-fdebug-compilation-dir=/x",
            "-working-directory=/",
        ] {
            assert!(check(&[flag.to_owned()]).is_err(), "{flag}");
        }
    }
}
