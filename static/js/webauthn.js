// Passkeys and security keys, driven by data attributes on the button:
//   data-webauthn="create" | "get" | "login"
//   data-options="id of the json_script with the options" (login asks the form's action for them)
//   data-passwordless="id of the check box that asks for a passkey" (create only)
// The signed answer goes into the form's field "credential", then the form is sent.
const OPTION_KEY = { create: "creation_options", get: "request_options", login: "request_options" }

function bytes(text) {
  const raw = atob(text.replaceAll("-", "+").replaceAll("_", "/"))
  return Uint8Array.from(raw, (character) => character.charCodeAt(0))
}

function text(buffer) {
  const raw = String.fromCharCode(...new Uint8Array(buffer))
  return btoa(raw).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
}

function descriptors(list) {
  return list?.map((entry) => ({ ...entry, id: bytes(entry.id) }))
}

async function create(publicKey) {
  const made = await navigator.credentials.create({
    publicKey: {
      ...publicKey,
      challenge: bytes(publicKey.challenge),
      user: { ...publicKey.user, id: bytes(publicKey.user.id) },
      excludeCredentials: descriptors(publicKey.excludeCredentials),
    },
  })
  return {
    ...shared(made),
    response: {
      clientDataJSON: text(made.response.clientDataJSON),
      attestationObject: text(made.response.attestationObject),
      transports: made.response.getTransports?.() ?? [],
    },
  }
}

async function get(publicKey) {
  const given = await navigator.credentials.get({
    publicKey: {
      ...publicKey,
      challenge: bytes(publicKey.challenge),
      allowCredentials: descriptors(publicKey.allowCredentials),
    },
  })
  const { authenticatorData, clientDataJSON, signature, userHandle } = given.response
  return {
    ...shared(given),
    response: {
      authenticatorData: text(authenticatorData),
      clientDataJSON: text(clientDataJSON),
      signature: text(signature),
      userHandle: userHandle ? text(userHandle) : null,
    },
  }
}

function shared(credential) {
  return {
    type: credential.type,
    id: credential.id,
    rawId: text(credential.rawId),
    authenticatorAttachment: credential.authenticatorAttachment ?? null,
    clientExtensionResults: credential.getClientExtensionResults(),
  }
}

async function options(button, form) {
  const { webauthn, options: id } = button.dataset
  if (webauthn !== "login") return JSON.parse(document.getElementById(id).textContent)[OPTION_KEY[webauthn]]
  const answer = await fetch(form.action, { headers: { Accept: "application/json", "X-Requested-With": "XMLHttpRequest" } })
  if (!answer.ok) throw new Error(`The server gave no passkey challenge (HTTP ${answer.status}). Sign in with your password.`)
  return (await answer.json())[OPTION_KEY.login]
}

function askForPasskey(button, publicKey) {
  const box = document.getElementById(button.dataset.passwordless ?? "")
  if (!box) return
  const wanted = { residentKey: box.checked ? "required" : "discouraged", requireResidentKey: box.checked }
  publicKey.authenticatorSelection = { ...publicKey.authenticatorSelection, ...wanted }
  if (box.checked) publicKey.authenticatorSelection.userVerification = "required"
}

function explain(error) {
  if (error.name === "NotAllowedError") return "The browser cancelled the request or it timed out. Try again."
  if (error.name === "InvalidStateError") return "This key is already registered on your account."
  if (error.name === "SecurityError") return "Passkeys need HTTPS and the right address in the browser."
  return error.message
}

async function start(button) {
  const form = button.form
  if (!form.reportValidity()) return
  button.disabled = true
  try {
    if (!navigator.credentials) throw new Error("This browser cannot use passkeys on this page. Passkeys need HTTPS.")
    const { publicKey } = await options(button, form)
    askForPasskey(button, publicKey)
    const answer = await (button.dataset.webauthn === "create" ? create(publicKey) : get(publicKey))
    form.elements.credential.value = JSON.stringify(answer)
    form.submit()
  } catch (error) {
    button.disabled = false
    document.dispatchEvent(new CustomEvent("toast", { detail: { text: explain(error), level: "error" } }))
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-webauthn]")
  if (!button) return
  event.preventDefault()
  start(button)
})
