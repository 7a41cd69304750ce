//! Connection options of the database.

use std::time::Duration;

use coupon_core::connections::{Database, DatabaseTls};
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};

use super::trust;

/// The connection options that follow from the settings: address, login and encryption.
pub(super) fn options(settings: &Database) -> MySqlConnectOptions {
    let options = MySqlConnectOptions::new()
        .host(&settings.host)
        .port(settings.port)
        .database(&settings.name)
        .username(&settings.login.username)
        .password(&settings.login.password)
        .charset("utf8mb4")
        .ssl_mode(match settings.tls {
            DatabaseTls::Disabled => MySqlSslMode::Disabled,
            DatabaseTls::Required => MySqlSslMode::Required,
            DatabaseTls::VerifyIdentity => MySqlSslMode::VerifyIdentity,
        })
        .log_statements(tracing::log::LevelFilter::Trace)
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(2));
    match settings.tls {
        DatabaseTls::VerifyIdentity => options.ssl_ca_from_pem(trust::authorities(settings)),
        DatabaseTls::Disabled | DatabaseTls::Required => options,
    }
}
