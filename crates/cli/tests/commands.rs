//! What the command says: help, success, failure and odd input, as recorded in `tests/cmd`.
//!
//! `TRYCMD=overwrite cargo test -p drift-cli --test commands` records again what is said now.

#[test]
fn commands_say_what_is_recorded() {
    trycmd::TestCases::new().case("tests/cmd/*.md").run();
}
