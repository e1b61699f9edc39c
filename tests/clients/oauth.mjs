// What the user of a client sees whose token was refused, and which turns to OAuth: node oauth.mjs MODULE SERVER_URL
const [module, serverUrl] = process.argv.slice(2)
const { auth } = await import(module)
const redirectUrl = 'http://127.0.0.1:1/callback'
const provider = {
    redirectUrl,
    clientMetadata: { redirect_uris: [redirectUrl], client_name: 'test' },
    clientInformation: () => undefined,
    saveClientInformation: () => {},
    tokens: () => undefined,
    saveTokens: () => {},
    redirectToAuthorization: () => {},
    saveCodeVerifier: () => {},
    codeVerifier: () => '',
}
let shown = ''
try {
    await auth(provider, { serverUrl })
} catch (error) {
    shown = error.message
}
console.log(JSON.stringify({ shown }))
