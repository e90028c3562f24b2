//! Writes the client and server of tonic's service, so that no `protoc` is needed: the messages are
//! those of `src/rivals/tonic/messages.rs`, the codec is tonic's own for protobuf.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let method = |name: &str, route: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type("crate::rivals::tonic::Payload")
            .output_type("crate::rivals::tonic::Payload")
            .codec_path("tonic_prost::ProstCodec")
    };
    let items = method("items", "Items").input_type("crate::rivals::tonic::Wanted");
    let service = Service::builder()
        .name("Rival")
        .package("bench")
        .method(method("echo", "Echo").build())
        .method(items.server_streaming().build())
        .build();
    Builder::new().compile(&[service]);
}
