//! The command line tool `bpf-vm`; its work is in the library.

fn main() -> std::process::ExitCode {
    bpf_kernel_tests::cli::main()
}
