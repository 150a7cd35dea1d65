// Package identity knows who is calling: it finds the token in a request,
// verifies it against the configured issuers, and says what its bearer may do.
// It also issues the gateway's own tokens.
//
// A [Verifier] turns a token (a JWT, RFC 7519) into a [Principal]. Each
// [Issuer] has its own keys, algorithms, audience and claim names; a token is
// judged by exactly one issuer, the one its "iss" names, and never by another's
// keys. Verified tokens are remembered until they expire, so that the second
// call of a user costs a hash and a look-up.
//
// E-mail addresses do not leave this package unhashed: everything that stores,
// logs or counts uses [Principal.UserHash].
package identity
