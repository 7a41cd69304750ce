// What people see of it. coupon.js asks.

import { Sale, newKey, opensIn } from './coupon.js'

const api = document.querySelector('meta[name=coupon-api]').content
const button = document.getElementById('ask')
const timer = document.getElementById('countdown')

const DECIDED = {
  ALREADY_ISSUED: 'You have one already.',
  SOLD_OUT: 'Sold out. Next time!',
  NOT_STARTED: 'It has not started yet. Tap, and this page asks for you when it does.',
  ENDED: 'It is over.',
  SUSPENDED: 'It is paused for now. Come back in a moment.',
  UNAUTHENTICATED: 'Please log in.',
  INVALID_TOKEN: 'Please log in again.',
}
const WAITING = {
  busy: seconds => `It takes a little longer. This page asks again for you in ${seconds} s.`,
  'too-often': seconds => `That was too often. This page asks again for you in ${seconds} s; tapping is not faster.`,
  silent: seconds => `No answer yet. This page asks again for you in ${seconds} s: it is still the same wish.`,
  'not-for-this-page': () => `An answer came, but this page (${location.origin}) may not read it. That is our mistake, not yours. ` +
    '(Either routing.cors.allowedOrigins of the class does not name this origin, or a gateway answers in place of the sale.)',
}

// The last line for people. The countdown goes with a line that is about it.
const show = (text, opensAt = null) => {
  countdown.to(opensAt)
  const told = document.getElementById('told')
  if (told.textContent !== text) told.textContent = text
}

const countdown = {
  opensAt: null,
  to(opensAt) {
    this.opensAt = opensAt
    this.draw()
  },
  draw() {
    timer.hidden = this.opensAt === null
    if (timer.hidden) return
    const seconds = Math.max(0, Math.ceil((this.opensAt - Date.now()) / 1_000))
    const parts = [seconds / 3_600, (seconds / 60) % 60, seconds % 60].map(part => String(Math.floor(part)).padStart(2, '0'))
    timer.textContent = parts.join(':')
  },
}
setInterval(() => countdown.draw(), 1_000)

// Who is logged in, and the token that the class's issuers take. A shop serves this by its own session; here it is a file.
async function session() {
  try {
    const answer = await fetch('session.json', { cache: 'no-store' })
    return answer.ok ? await answer.json() : null
  } catch {
    return null
  }
}

const sale = new Sale(api, session, (why, seconds) => show(WAITING[why](seconds)))

// The wish of this user: {key, rank}. Kept over a reload and in other tabs; without storage, as long as the page is open.
const wish = {
  inMemory: null,
  name: () => `coupon ${api} ${sale.who.user}`,
  get() {
    try {
      return JSON.parse(localStorage.getItem(this.name())) ?? this.inMemory
    } catch {
      return this.inMemory
    }
  },
  keep(kept) {
    this.inMemory = kept
    try {
      kept ? localStorage.setItem(this.name(), JSON.stringify(kept)) : localStorage.removeItem(this.name())
    } catch { /* Storage is switched off, or full. */ }
    return kept
  },
}

const won = ranks => show(ranks.length > 1 ? `You have the numbers ${ranks.join(', ')}.` : `You have number ${ranks[0]}.`)

// Shows what the user holds, if anything; null if nobody says.
async function showHeld() {
  const coupons = await sale.held()
  if (!coupons?.length) return coupons
  if (coupons.every(coupon => coupon.state === 'stored')) won(coupons.map(coupon => coupon.rank))
  // Not yet durable: a number that is told must not change any more.
  else show('It looks good. Your number follows in a moment: tap again.')
  return coupons
}

async function ask() {
  if (!sale.who?.user && !(await sale.logIn())) return show(DECIDED.UNAUTHENTICATED)
  let kept = wish.get()
  // A wish that has won is over: this is another one.
  if (!kept || kept.rank) kept = wish.keep({ key: newKey() })
  show('Please wait ...')
  let answer
  while ((answer = await sale.ask(kept.key))?.code === 'NOT_STARTED') {
    await sale.opening(answer, opensAt => show('It has not started yet. This page asks for you when it does: leave it open.', opensAt))
    show('Please wait ...')
  }
  await conclude(kept, answer)
}

async function conclude(kept, answer) {
  if (answer?.success) {
    wish.keep({ ...kept, rank: answer.rank })
    return won([answer.rank])
  }
  // Another wish of this user has won, or nobody says what has become of this one: what is held says it.
  if (answer?.code === 'ALREADY_ISSUED') wish.keep(null)
  if ((!answer || answer.code === 'ALREADY_ISSUED') && (await showHeld())?.length) return
  if (answer) return show(DECIDED[answer.code] ?? `That is our mistake, not yours: ${answer.error ?? answer.status}`)
  // Whether it is for this page was said while it waited.
  if (sale.isReadable) show('Nobody answers. Tap again: it is still the same wish.')
}

// What to show before anybody taps. A wish without an answer goes on by itself.
async function begin() {
  if (!(await sale.logIn())) return show(DECIDED.UNAUTHENTICATED)
  const kept = wish.get()
  if (kept && !kept.rank) return busy(ask)
  if (kept) won([kept.rank])
  const [held, campaign] = await Promise.all([showHeld(), sale.campaign()])
  // Without an answer, what was told before stands.
  if (hasTapped || held?.length || (kept && !held)) return
  if (kept) wish.keep(null)
  if (campaign?.state === 'NOT_STARTED') show(DECIDED.NOT_STARTED, Date.now() + opensIn(campaign))
  else if (campaign) show(DECIDED[campaign.state] ?? '')
  else if (await sale.isKeptFromUs()) show(WAITING['not-for-this-page']())
  else show('The sale does not answer yet. Tap, and this page asks for a while.')
}

let hasTapped = false

// A button that is disabled loses the focus; this one says that it is, and does nothing.
async function busy(work) {
  if (button.getAttribute('aria-disabled') === 'true') return
  hasTapped = true
  button.setAttribute('aria-disabled', 'true')
  await mindful(work)
  button.removeAttribute('aria-disabled')
}

const mindful = work => work().catch(error => show(`That is our mistake, not yours: ${error}`))

button.addEventListener('click', () => busy(ask))
mindful(begin)
