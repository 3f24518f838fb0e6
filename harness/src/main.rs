//! The command line tool `bpf-harness`; its work is in the library.

fn main() -> std::process::ExitCode {
    bpf_harness::cli::main()
}
