//! What OpenAPI says of user ids.

use coupon_core::event::MAX_NUMBER;
use coupon_core::identity::MAX_USER_ID;
use coupon_core::user_id;
use utoipa::openapi::schema::{Object, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A user id as text.
pub(crate) struct UserIdText;

impl UserIdText {
    fn object() -> Object {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .min_length(Some(1))
            .max_length(Some(MAX_USER_ID))
            .pattern(Some(user_id::pattern()))
            .description(Some(format!(
                "At most {MAX_USER_ID} bytes of UTF-8 in Unicode's normal form NFC, into which it is brought. Without characters that \
                 nobody sees (of control, of format, of no width, blank ones), without private and unassigned ones, and without white space \
                 but for single or repeated U+0020 between other characters. Compared byte by byte: `Anna` is not `anna`."
            )))
            .examples(["user-1"])
            .build()
    }
}

impl PartialSchema for UserIdText {
    fn schema() -> RefOr<Schema> {
        Self::object().into()
    }
}

impl ToSchema for UserIdText {}

/// A user id in a body: text, or a whole number that stands for its digits.
pub(crate) fn given_user_id() -> Schema {
    let most = i64::try_from(MAX_NUMBER).unwrap_or(i64::MAX);
    let number = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(-most))
        .maximum(Some(most))
        .description(Some("The same as its digits as text, without fraction or exponent."))
        .build();
    OneOfBuilder::new().item(UserIdText::object()).item(number).description(Some("Who asks")).into()
}
