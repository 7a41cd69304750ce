//! Checks signatures with `ring`, which TLS uses as well.

use coupon_core::contract::SignatureAlgorithm;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// A public key, as `ring` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Modulus and exponent, both without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// A point that is not compressed.
    P256(Vec<u8>),
    /// A point that is not compressed.
    P384(Vec<u8>),
    /// Its 32 bytes.
    Ed25519(Vec<u8>),
}

/// How signatures of one algorithm are checked.
enum Method {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

fn method(algorithm: SignatureAlgorithm) -> Method {
    match algorithm {
        SignatureAlgorithm::Rs256 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        SignatureAlgorithm::Rs384 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        SignatureAlgorithm::Rs512 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        SignatureAlgorithm::Ps256 => Method::Rsa(&RSA_PSS_2048_8192_SHA256),
        SignatureAlgorithm::Ps384 => Method::Rsa(&RSA_PSS_2048_8192_SHA384),
        SignatureAlgorithm::Ps512 => Method::Rsa(&RSA_PSS_2048_8192_SHA512),
        SignatureAlgorithm::Es256 => Method::Curve(&ECDSA_P256_SHA256_FIXED),
        SignatureAlgorithm::Es384 => Method::Curve(&ECDSA_P384_SHA384_FIXED),
        SignatureAlgorithm::EdDsa => Method::Curve(&ED25519),
    }
}

impl PublicKey {
    /// Whether it can have signed in this way.
    pub(super) fn fits(&self, algorithm: SignatureAlgorithm) -> bool {
        use SignatureAlgorithm::{EdDsa, Es256, Es384};
        match self {
            Self::Rsa { .. } => matches!(method(algorithm), Method::Rsa(_)),
            Self::P256(_) => algorithm == Es256,
            Self::P384(_) => algorithm == Es384,
            Self::Ed25519(_) => algorithm == EdDsa,
        }
    }

    /// Whether it has signed this message, in this way.
    pub(super) fn has_signed(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        match (method(algorithm), self) {
            (Method::Rsa(parameters), Self::Rsa { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            (Method::Curve(method), Self::P256(key) | Self::P384(key) | Self::Ed25519(key)) if self.fits(algorithm) => {
                UnparsedPublicKey::new(method, key).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }
}
