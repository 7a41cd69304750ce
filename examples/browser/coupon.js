// Asking for a coupon, without a page around it: what docs/integrate.md says of keys, retries and codes.

const PATIENCE_MS = 60_000, ATTEMPT_MS = 15_000, PROBE_MS = 5_000
const FIRST_PAUSE_MS = 1_000, LONGEST_PAUSE_MS = 10_000
// No timer is trusted for longer: a window may be moved, and a phone that sleeps stops its timers.
const CLOCK_MS = 300_000

export const pause = ms => new Promise(done => setTimeout(done, ms))

// One wish, one key. `crypto.randomUUID` is there on https and localhost only.
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('')

// What the answer says is final for this wish. 429 and 503 are not, and neither is 408: the body was lost on the way.
const isDecided = ({ status }) => status < 500 && status !== 429 && status !== 408

export class Sale {
  // `api` is `status.url` of the campaign without `/issue`, `session` answers {user, token} of who is logged in, or null,
  // and `tell` hears why it takes longer: 'busy', 'too-often', 'silent' or 'not-for-this-page', and in how many seconds it goes on.
  constructor(api, session, tell) {
    Object.assign(this, { api, session, tell, who: null, isReadable: false })
  }

  async logIn() {
    this.who = await this.session()
    return this.who
  }

  // The answer with its status and the seconds of Retry-After; null when there was none, or none that is whole.
  async attempt(path, { headers = {}, ...options } = {}) {
    try {
      const token = this.who?.token
      const answer = await fetch(this.api + path, {
        ...options,
        headers: token ? { ...headers, Authorization: `Bearer ${token}` } : headers,
        cache: 'no-store',
        signal: AbortSignal.timeout(ATTEMPT_MS),
      })
      // A gateway that answers in its own words has no JSON: then nothing is known.
      const body = await answer.json()
      this.isReadable = true
      return { ...body, status: answer.status, retryAfter: Number(answer.headers.get('Retry-After')) || 0 }
    } catch {
      return null
    }
  }

  // The same, with a new token where the one that we have is not taken.
  async attemptLoggedIn(path, options) {
    const answer = await this.attempt(path, options)
    if (answer?.status !== 401 || !(await this.logIn())) return answer
    return this.attempt(path, options)
  }

  // The decided answer, or null when there is none within PATIENCE_MS. What is undecided is asked again with the same key.
  async ask(key) {
    const { user, token } = this.who
    const until = Date.now() + PATIENCE_MS
    for (let wait = FIRST_PAUSE_MS; ; wait = Math.min(2 * wait, LONGEST_PAUSE_MS)) {
      const answer = await this.attemptLoggedIn('/issue', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
        // A token says who asks; who names somebody beside it could only be wrong.
        body: JSON.stringify(token ? {} : { userId: user }),
      })
      if (answer && isDecided(answer)) return answer
      if (Date.now() > until) return null
      // Never before Retry-After, and not all in the same moment.
      const ms = (answer?.retryAfter ? 1_000 * answer.retryAfter : wait) * (1 + Math.random() / 2)
      this.tell(await this.reason(answer), Math.ceil(ms / 1_000))
      await pause(ms)
    }
  }

  async reason(answer) {
    if (answer) return answer.status === 429 ? 'too-often' : 'busy'
    return (await this.isKeptFromUs()) ? 'not-for-this-page' : 'silent'
  }

  // Whether somebody answers, and the browser keeps it from this page. It does not say so to a script, which can only compare: an answer that
  // nobody may read comes, one that is to be read does not. Once one was read, that cannot be the cause.
  async isKeptFromUs() {
    const comes = mode => fetch(this.api, { mode, cache: 'no-store', signal: AbortSignal.timeout(PROBE_MS) }).then(() => true, () => false)
    return !this.isReadable && await comes('no-cors') && !(await comes('cors')) && comes('no-cors')
  }

  // The campaign as everybody sees it, or null.
  async campaign() {
    const answer = await this.attempt('')
    return answer?.status === 200 ? answer : null
  }

  // The user's coupons, or null when nobody says so.
  async held() {
    const answer = await this.attemptLoggedIn(`/users/${encodeURIComponent(this.who.user)}`)
    return answer?.status === 200 ? answer.coupons : null
  }

  // Waits until it is time to ask again who heard NOT_STARTED: as long as the answer says, else until the opening, by the sale's clock; and a
  // random second longer. `opens` hears when the opening is by the user's clock.
  async opening({ retryAfter }, opens) {
    const campaign = await this.campaign()
    const left = campaign?.window ? opensIn(campaign) : null
    if (left !== null) opens(Date.now() + left)
    const wait = retryAfter ? 1_000 * retryAfter : left ?? LONGEST_PAUSE_MS
    await pause(Math.min(wait, CLOCK_MS) + 1_000 * Math.random())
  }
}

// How long it is to go until a campaign opens, in milliseconds.
export const opensIn = ({ window, now }) => Math.max(0, Date.parse(window.start) - Date.parse(now))
