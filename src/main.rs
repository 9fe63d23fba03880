//! The `wuasync` binary; everything is in the library.

fn main() -> std::process::ExitCode {
    wuasync::cli::main()
}
