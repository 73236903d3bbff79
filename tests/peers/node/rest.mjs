// Drives the API with the official Node SDK and prints what it saw as one JSON object.
// Arguments: base URL, API key, account, call.
import Telnyx from 'telnyx';

const [baseURL, apiKey, account_sid, call_sid] = process.argv.slice(2);
const client = new Telnyx({ apiKey, baseURL });
const calls = client.texml.accounts.calls;
const refusal = async (promise) => {
  try {
    return { unexpected: await promise };
  } catch (error) {
    return { status: error.status, errors: error.error?.errors, name: error.constructor.name };
  }
};

const started = await calls.streamsJson(call_sid, {
  account_sid,
  Url: 'wss://www.example.com/websocket?a=%20b&c=d+e',
  Name: 'My stream',
  Track: 'both_tracks',
  BidirectionalMode: 'rtp',
  StatusCallback: 'http://webhook.com/callback?a=b&c',
});
const stopped = await calls.streams.streamingSidJson(started.sid, { account_sid, call_sid });
const stoppedAgain = await calls.streams.streamingSidJson(started.sid, { account_sid, call_sid, Status: 'stopped' });
const badTrack = await refusal(calls.streamsJson(call_sid, { account_sid, Url: 'wss://x', Track: 'all' }));
const noUrl = await refusal(calls.streamsJson(call_sid, { account_sid }));
const noCall = await refusal(calls.streamsJson('v3:unknown', { account_sid, Url: 'wss://x' }));
const unauthorized = new Telnyx({ apiKey: 'unknown', baseURL });
const noKey = await refusal(unauthorized.texml.accounts.calls.retrieveCalls(account_sid));
const list = await calls.retrieveCalls(account_sid, { PageSize: 2 });
const redirected = await calls.update(call_sid, { account_sid, Texml: '<Response/>' });
const placed = await calls.calls(account_sid, {
  body: {
    To: 'sip:alice@example.com',
    From: '+13120001234',
    CallerId: 'Caller',
    ApplicationSid: '1293384261075731499',
    TimeLimit: 60,
    CustomHeaders: [{ name: 'X-Custom-Header', value: 'a&b' }],
  },
});
const noTo = await refusal(calls.calls(account_sid, { body: { From: '+1', Url: 'https://x' } }));
const ended = await calls.update(call_sid, { account_sid, Status: 'completed' });
const hangup = await refusal(client.calls.actions.hangup(call_sid, {}));
console.log(
  JSON.stringify({ started, stopped, stoppedAgain, badTrack, noUrl, noCall, noKey, list, placed, redirected, noTo, ended, hangup }),
);
