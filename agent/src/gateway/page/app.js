"use strict";

const SESSION = "page";
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15000;

const byId = (id) => document.getElementById(id);
const log = byId("log");
let socket = null;
let seen = 0;
let answer = null;
let retry = FIRST_RETRY_MS;

function line(kind, text) {
  const p = document.createElement("p");
  p.className = kind;
  p.textContent = text;
  log.append(p);
  window.scrollTo(0, document.body.scrollHeight);
  return p;
}

function state(text) {
  byId("state").textContent = text;
}

function show(frame) {
  if (typeof frame.seq === "number") {
    if (frame.seq <= seen) return;
    seen = frame.seq;
  }
  switch (frame.type) {
    case "message":
      line("user", frame.text);
      answer = null;
      byId("stop").disabled = false;
      break;
    case "queued":
      line("note", `waiting, position ${frame.position}`);
      break;
    case "delta":
      answer = answer || line("answer", "");
      answer.textContent += frame.text;
      break;
    case "response":
      (answer || line("answer", "")).textContent = frame.text;
      break;
    case "turn_complete":
      if (frame.reason !== "done") line("note", frame.reason);
      answer = null;
      byId("stop").disabled = true;
      break;
    case "error":
    case "command_result":
      line("note", frame.text);
      break;
    case "cleared":
      log.replaceChildren();
      break;
  }
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws`);
  socket.onopen = () => {
    retry = FIRST_RETRY_MS;
    state("connected");
    socket.send(JSON.stringify({ type: "session_open", session_id: SESSION, from_seq: seen + 1 }));
  };
  socket.onmessage = (event) => show(JSON.parse(event.data));
  socket.onclose = (event) => {
    if (event.code === 4003) {
      state("this device was revoked");
      return;
    }
    state("disconnected, trying again");
    setTimeout(connect, retry);
    retry = Math.min(retry * 2, LAST_RETRY_MS);
  };
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = byId("text");
  const text = input.value.trim();
  if (!text || !socket || socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: "text_final", session_id: SESSION, text, client_msg_id: newId() }));
  input.value = "";
});

byId("stop").addEventListener("click", () => {
  socket.send(JSON.stringify({ type: "interrupt", session_id: SESSION }));
});

async function load() {
  const [info, who] = await Promise.all([
    fetch("/api/agent-info").then((answer) => answer.json()),
    fetch("/api/whoami").then((answer) => answer.json()),
  ]);
  document.title = byId("agent").textContent = info.name;
  byId("who").textContent = `${who.user}, ${who.role}, ${who.path}, device ${who.node_id.slice(0, 10)}`;
}

load().catch(() => state("the agent did not answer"));
connect();
