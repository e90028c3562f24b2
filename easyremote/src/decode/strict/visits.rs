//! Macros that forward the methods of a visitor.

/// Forwards visits to the visitor at `$to`.
macro_rules! visits {
    ($to:tt: $($method:ident($ty:ty))*) => {$(
        fn $method<E: Error>(self, value: $ty) -> Result<Self::Value, E> {
            self.$to.$method(value)
        }
    )*};
}

/// Forwards visits of strings and bytes, and of what has no value.
macro_rules! visits_texts {
    ($to:tt) => {
        visits! { $to:
            visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
            visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            self.$to.visit_unit()
        }

        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            self.$to.visit_none()
        }

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.$to.expecting(f)
        }
    };
}

/// Forwards visits of booleans and numbers.
macro_rules! visits_numbers {
    ($to:tt) => {
        visits! { $to:
            visit_bool(bool)
            visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
            visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
            visit_f32(f32) visit_f64(f64) visit_char(char)
        }
    };
}

/// Forwards visits of values with parts.
macro_rules! visits_parts {
    ($to:tt) => {
        fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
            self.$to.visit_some(inner)
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(
            self,
            inner: D,
        ) -> Result<Self::Value, D::Error> {
            self.$to.visit_newtype_struct(inner)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
            self.$to.visit_seq(access)
        }

        fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
            self.$to.visit_enum(access)
        }
    };
}
