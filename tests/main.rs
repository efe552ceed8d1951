//! The one integration-test binary: it runs the `pipeline` command as a user does.

mod bulk;
mod crash;
mod mistakes;
mod runs;
mod support;
mod tidy;
