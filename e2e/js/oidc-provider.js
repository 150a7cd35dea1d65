// A certified OpenID provider (https://github.com/panva/node-oidc-provider) for
// TestOpenIDProvider, with its own pages to sign in. Whoever types a name is that
// person: name@example.org, whose address is verified unless the name says otherwise.
import Provider from 'oidc-provider';

const { ISSUER, PORT, REDIRECT_URI, CLIENT_ID, CLIENT_SECRET, AUTH_METHOD } = process.env;

const provider = new Provider(ISSUER, {
  clients: [{
    client_id: CLIENT_ID,
    client_secret: CLIENT_SECRET,
    redirect_uris: [REDIRECT_URI],
    response_types: ['code'],
    grant_types: ['authorization_code'],
    token_endpoint_auth_method: AUTH_METHOD,
  }],
  clientAuthMethods: [AUTH_METHOD],
  pkce: { required: () => true },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  features: { devInteractions: { enabled: true } },
  cookies: { keys: ['only for tests'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id, email: `${id}@example.org`, email_verified: !id.startsWith('unverified'), name: `The user ${id}`,
    }),
  }),
});

provider.on('server_error', (_, error) => console.error(error));
provider.listen(Number(PORT), '127.0.0.1', () => console.log('listening'));
