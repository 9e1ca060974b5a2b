use std::process::ExitCode;
pub fn named(_: Option<&str>) -> ExitCode {
    ExitCode::SUCCESS
}
pub fn crash_points() -> ExitCode {
    ExitCode::SUCCESS
}
