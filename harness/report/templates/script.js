"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const form = find(".filters"), table = find("#grid"), dialog = find("#results"), where = find("#where");
  const outcomes = all("option", form.elements.outcome).slice(1)
    .map((option) => ({ name: option.value, sign: option.textContent.split(" ")[0] }));
  const columns = data.cells.length;

  // Of each contract in each cell: which outcomes it has (bits), and the one that stands for all.
  const bits = new Uint8Array(data.contracts.length * columns);
  const worst = new Int8Array(bits.length).fill(-1);
  data.cells.forEach((cell, column) => {
    data.shapes[cell.shape][0].forEach((contract, number) => {
      bits[contract * columns + column] |= 1 << Number(cell.outcomes[number]);
    });
  });
  // What a cell that was cut short does not have did not run.
  const missing = 1 << outcomes.findIndex(({ name }) => name === "not run");
  bits.forEach((found, place) => {
    if (!found && !data.cells[place % columns].done) found = bits[place] = missing;
    if (found) worst[place] = data.worst.find((outcome) => found & (1 << outcome));
  });

  // Rows of contracts are made when their group is opened for the first time.
  const squares = outcomes.map(({ name, sign }) => square(name, sign));
  const blank = square("", "");
  const groups = all("tbody[data-group]", table).map((body) => ({
    body,
    head: find("th", body),
    chosen: false,
    rows: null,
    contracts: data.contracts.map((_, number) => number)
      .filter((number) => data.contracts[number][3] === body.dataset.group),
  }));

  function square(name, sign) {
    const cell = document.createElement("td");
    if (name) cell.className = `o ${name.replace(" ", "-")}`;
    cell.textContent = sign;
    cell.tabIndex = -1;
    return cell;
  }

  function rowsOf(group) {
    group.rows ??= group.contracts.map((contract) => {
      const [rule, sentence, name] = data.contracts[contract];
      const row = document.createElement("tr"), head = document.createElement("th"), label = document.createElement("span");
      row.dataset.contract = contract;
      head.scope = "row";
      head.tabIndex = -1;
      head.title = `${sentence}\n${name}`;
      label.className = "rule";
      label.textContent = rule;
      head.append(label, sentence);
      row.append(head);
      for (let column = 0; column < columns; column++) {
        const outcome = worst[contract * columns + column];
        row.append((outcome < 0 ? blank : squares[outcome]).cloneNode(true));
      }
      return row;
    });
    return group.rows;
  }

  // Filters. A contract and a cell stay if a result of theirs has the outcome that is asked for.
  const hiding = new CSSStyleSheet();
  document.adoptedStyleSheets = [hiding];
  let shownColumns = data.cells.map((_, column) => column);

  function matches(text, words) {
    const lower = text.toLowerCase();
    return words.every((word) => lower.includes(word));
  }

  function apply() {
    const value = (name) => form.elements[name].value.trim().toLowerCase();
    const contractWords = value("contract").split(/\s+/), cellWords = value("cell").split(/\s+/);
    const backend = value("backend"), lane = value("lane");
    const wanted = outcomes.findIndex(({ name }) => name === value("outcome"));
    const bit = wanted < 0 ? 255 : 1 << wanted;
    const searching = Boolean(value("contract")) || wanted >= 0;
    const cells = data.cells.map((cell) => matches(cell.id, cellWords)
      && (!backend || cell.backend === backend) && (!lane || cell.lanes.includes(lane)));
    const rows = data.contracts.map(([rule, sentence, name], contract) => matches(`${rule} ${sentence} ${name}`, contractWords)
      && cells.some((shown, column) => shown && bits[contract * columns + column] & bit));
    if (searching) {
      cells.forEach((shown, column) => {
        cells[column] = shown && rows.some((row, contract) => row && bits[contract * columns + column] & bit);
      });
    }
    shownColumns = cells.flatMap((shown, column) => (shown ? [column] : []));

    const gone = cells.flatMap((shown, column) => (shown ? [] : [`#grid tr:not(.images) > :nth-child(${column + 2})`]));
    hiding.replaceSync(gone.length ? `${gone.join(",")}{display:none}` : "");
    table.classList.toggle("few", shownColumns.length < 13);
    let first = 0;
    for (const head of all(".images th", table)) {
      const span = Number(head.dataset.span ??= head.colSpan);
      const left = cells.slice(first, first + span).filter(Boolean).length;
      head.hidden = !left;
      head.colSpan = left || 1;
      first += span;
    }
    for (const group of groups) {
      const any = group.contracts.some((contract) => rows[contract]);
      const open = any && (group.chosen || searching);
      group.body.hidden = !any;
      group.body.classList.toggle("open", open);
      group.head.setAttribute("aria-expanded", open);
      if (open && !group.body.contains(rowsOf(group)[0])) group.body.append(...group.rows);
      group.rows?.forEach((row) => { row.hidden = !open || !rows[row.dataset.contract]; });
    }

    const names = new Set(data.contracts.flatMap(([, , name], contract) => (rows[contract] ? [name] : [])));
    const ids = new Set(shownColumns.map((column) => data.cells[column].id));
    for (const cell of all("details.cell")) cell.hidden = !ids.has(cell.dataset.cell);
    for (const contract of all("details.contract")) {
      const failures = all("details.failure", contract);
      for (const one of failures) {
        one.hidden = !ids.has(one.dataset.cell) || !names.has(one.dataset.contract)
          || (wanted >= 0 && one.dataset.outcome !== outcomes[wanted].name);
      }
      contract.hidden = failures.every((one) => one.hidden);
    }
    form.elements.shown.value = `${names.size} of ${data.contracts.length} contracts, ${ids.size} of ${columns} cells`;
    if (!table.contains(current) || current.closest("[hidden]") || !shown(current)) settle(groups.find((group) => !group.body.hidden)?.head);
  }

  // Keys: one stop for the whole grid, arrows within it.
  let current = null;
  const shown = (cell) => cell.cellIndex === 0 || shownColumns.includes(cell.cellIndex - 1);

  function settle(cell) {
    if (current) current.tabIndex = -1;
    current = cell ?? null;
    if (current) current.tabIndex = 0;
  }

  function go(cell) {
    if (!cell) return;
    settle(cell);
    cell.focus();
  }

  function describe(cell) {
    const row = cell.parentElement, column = cell.cellIndex - 1;
    const contract = data.contracts[row.dataset.contract];
    const what = contract ? `${contract[0]} ${contract[1]}` : row.matches(".group") ? find("th", row).textContent.trim() : "";
    if (column < 0) return what;
    const outcome = outcomes.find(({ name }) => cell.classList.contains(name.replace(" ", "-")));
    return [outcome && `${outcome.sign} ${outcome.name}`, what, data.cells[column].id].filter(Boolean).join(" · ");
  }

  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td, th");
    if (!cell || event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = [...table.rows].slice(1).filter((row) => !row.hidden && !row.parentElement.hidden);
    const stops = [0, ...shownColumns.map((column) => column + 1)];
    const x = stops.indexOf(cell.cellIndex), y = rows.indexOf(cell.parentElement);
    const at = (row, stop) => rows[row]?.cells[stops[stop]];
    const moves = {
      ArrowRight: () => at(y, x + 1), ArrowLeft: () => at(y, x - 1),
      ArrowDown: () => at(y + 1, x), ArrowUp: () => at(y - 1, x),
      Home: () => at(y, 0), End: () => at(y, stops.length - 1),
      PageDown: () => at(Math.min(y + 12, rows.length - 1), x), PageUp: () => at(Math.max(y - 12, 0), x),
      Enter: () => press(cell), " ": () => press(cell),
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    go(move());
  });

  function press(cell) {
    const row = cell.parentElement;
    if (row.matches(".names")) find("a", cell)?.click();
    else if (row.matches(".group")) toggle(cell.closest("tbody"));
    else if (cell.cellIndex > 0) explain(Number(row.dataset.contract), cell.cellIndex - 1);
  }

  function toggle(body) {
    const group = groups.find((one) => one.body === body);
    group.chosen = !body.classList.contains("open");
    apply();
  }

  table.addEventListener("click", (event) => {
    const cell = event.target.closest("tbody td, tbody th");
    if (!cell) return;
    settle(cell);
    press(cell);
  });
  const tell = (event) => {
    const cell = event.target.closest("td, th");
    if (cell && table.contains(cell)) where.textContent = describe(cell);
  };
  table.addEventListener("focusin", tell);
  table.addEventListener("pointerover", tell);

  // What became of one contract in one cell.
  function explain(contract, column) {
    const cell = data.cells[column], [rule, sentence, name] = data.contracts[contract];
    const [contracts, variants] = data.shapes[cell.shape];
    find("h2", dialog).textContent = `${rule}: ${sentence}`;
    find(".where", dialog).replaceChildren(`${name} in `, link(`#cell-${cell.id}`, cell.id));
    find("tbody", dialog).replaceChildren(...contracts.flatMap((one, number) => {
      if (one !== contract) return [];
      const { name: outcome, sign } = outcomes[cell.outcomes[number]];
      const row = document.createElement("tr");
      const reason = data.reasons[cell.reasons[number]] ?? "";
      const anchor = cell.places[number];
      for (const text of [data.variants[variants[number]], `${sign} ${outcome}`, (cell.ms[number] / 1000).toFixed(2), anchor ? link(`#${anchor}`, reason.split("\n")[0] || "what it said") : reason]) {
        const field = document.createElement("td");
        field.append(text);
        row.append(field);
      }
      row.cells[2].className = "n";
      return [row];
    }));
    if (find("tbody", dialog).rows.length) dialog.showModal();
  }

  function link(target, text) {
    const anchor = document.createElement("a");
    anchor.href = target;
    anchor.textContent = text;
    return anchor;
  }

  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("a")) dialog.close();
  });

  // Links to what is folded or filtered away.
  function reveal() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.closest("[hidden]")) {
      form.reset();
      apply();
    }
    for (let one = target; one; one = one.parentElement) if (one.matches("details")) one.open = true;
    target.scrollIntoView();
  }

  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  form.elements.fold.addEventListener("click", (event) => {
    const unfold = event.target.getAttribute("aria-pressed") === "false";
    event.target.setAttribute("aria-pressed", unfold);
    event.target.textContent = unfold ? "Fold all" : "Unfold all";
    for (const group of groups) group.chosen = unfold;
    apply();
  });
  document.addEventListener("click", (event) => {
    const count = event.target.closest("[data-outcome][href]"), copy = event.target.closest(".copy");
    if (count) {
      form.elements.outcome.value = count.dataset.outcome;
      apply();
    }
    if (copy) {
      const command = copy.previousElementSibling;
      getSelection().selectAllChildren(command);
      navigator.clipboard?.writeText(command.textContent).then(() => { copy.textContent = "Copied"; }, () => {});
    }
  });
  addEventListener("hashchange", reveal);

  document.documentElement.classList.add("js");
  form.hidden = false;
  find(".gridbox").removeAttribute("tabindex");
  table.setAttribute("role", "grid");
  for (const cell of all("th, td", table)) cell.tabIndex = -1;
  for (const anchor of all(".names a", table)) anchor.tabIndex = -1;
  apply();
  reveal();
})();
