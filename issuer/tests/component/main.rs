//! The issuer against a real Redis, Kafka and MariaDB. Run through `make test`, which starts them.

mod bad_input;
mod fencing;
mod fixture;
mod issuing;
mod outage;
mod proxy;
mod reading;
mod shutdown;
