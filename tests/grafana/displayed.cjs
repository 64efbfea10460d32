// What a person reads on Grafana's panels: Prometheus' answers through Grafana's own data library.
//
// Standard input is {library, panels: [{panel, answers: {refId: the `data` of Prometheus' HTTP API}}]}; standard
// output the lines of each panel. Frames are built as Grafana builds them (9.4: `pkg/util/converter/prom.go`,
// `pkg/tsdb/prometheus/querydata/response.go`, `transformDFToTable` in `result_transformer.ts`; 13 does the
// same), then go the way of all panels: transformations, field overrides, display.
"use strict";

const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const grafana = require(asked.library);
// What the library asks of a browser once it is loaded; before, it would ask for a document too.
globalThis.window = {};
globalThis.navigator ??= { languages: ["en-US"], language: "en-US" };
const isNew = Boolean(grafana.createDataFrame);  // since Grafana 10

// Grafana fills variables in names alone.
const SETTINGS = { displayName: { expandTemplateVars: true } };
const PROPERTIES = {
  displayName: grafana.displayNameOverrideProcessor,
  unit: grafana.stringOverrideProcessor,
  min: grafana.numberOverrideProcessor,
  max: grafana.numberOverrideProcessor,
  decimals: grafana.numberOverrideProcessor,
  noValue: grafana.stringOverrideProcessor,
  thresholds: grafana.thresholdsOverrideProcessor,
  mappings: grafana.valueMappingsOverrideProcessor,
  color: grafana.identityOverrideProcessor,
  links: grafana.identityOverrideProcessor,
};
grafana.standardFieldConfigEditorRegistry.setInit(() =>
  Object.entries(PROPERTIES).map(([id, process]) => ({
    id, path: id, name: id, process, settings: SETTINGS[id] ?? {}, shouldApply: () => true,
  })),
);
const { organizeFieldsTransformer, mergeTransformer } = grafana.standardTransformers;
grafana.standardTransformersRegistry.setInit(() =>
  [organizeFieldsTransformer, mergeTransformer].map((one) => ({
    id: one.id, name: one.name, transformation: isNew ? async () => one : one,
  })),
);
const theme = grafana.createTheme();

// Grafana's variables about what is shown: in `scopedVars` themselves, since 10 in the context these hold
// (9.4: `template_srv.ts`; 13: `dataMacros.ts`). A board's own stay as they are.
function replaceVariables(written, scoped = {}) {
  const { field: one, frame, frameIndex, data } = scoped.__dataContext?.value ?? {};
  const known = one
    ? {
      "__series.name": () => grafana.getFrameDisplayName(frame, frameIndex),
      "__field.name": () => one.name,
      "__field.displayName": () => grafana.getFieldDisplayName(one, frame, data),
    }
    : {};
  return written.replace(/\${(\w+)\.(\w+)}/g, (variable, name, property) =>
    known[`${name}.${property}`]?.() ?? scoped[name]?.value[property] ?? variable,
  );
}

// -- frames ------------------------------------------------------------------------------------------------

const field = (name, type, values, more = {}) => ({
  name, type, config: {}, values: isNew ? values : new grafana.ArrayVector(values), ...more,
});

// Also `+Inf`, `-Inf` and `NaN`.
const number = (written) => Number(written.replace(/^([+-]?)Inf$/, "$1Infinity"));

function legend(target, labels) {
  if (target.legendFormat === "__auto") {
    return Object.keys(labels).length ? "" : target.expr;
  }
  return target.legendFormat.replace(/{{\s*(.+?)\s*}}/g, (_, label) => labels[label] ?? "");
}

// One frame a series, named by its legend.
function series(target, data) {
  return data.result.map(({ metric, value, values }) => {
    const name = legend(target, metric);
    const points = values ?? [value];
    return {
      refId: target.refId,
      name,
      length: points.length,
      fields: [
        field("Time", "time", points.map(([at]) => at * 1000)),
        field("Value", "number", points.map(([, written]) => number(written)), {
          labels: metric, config: name ? { displayNameFromDS: name } : {},
        }),
      ],
    };
  });
}

// One frame a query, a row a series. Values are named by their queries only where several have answered.
function table(target, data, isAlone) {
  const labels = [...new Set(data.result.flatMap(({ metric }) => Object.keys(metric).sort()))];
  return {
    refId: target.refId,
    length: data.result.length,
    fields: [
      field("Time", "time", data.result.map(({ value }) => value[0] * 1000)),
      ...labels.map((one) => field(one, "string", data.result.map(({ metric }) => metric[one] ?? ""))),
      field(isAlone ? "Value" : `Value #${target.refId}`, "number",
        data.result.map(({ value }) => number(value[1]))),
    ],
  };
}

function frames({ panel, answers }) {
  const answered = panel.targets.filter(({ refId }) => answers[refId].result.length);
  const tables = answered.filter(({ format }) => format === "table");
  return [
    ...answered.filter((one) => !tables.includes(one)).flatMap((one) => series(one, answers[one.refId])),
    ...tables.map((one) => table(one, answers[one.refId], tables.length === 1)),
  ];
}

// -- panels ------------------------------------------------------------------------------------------------

const list = (values) => (isNew ? values : values.toArray());
const text = (one, value) => grafana.formattedValueToString(one.display(value));
const texts = (one) => list(one.values).map((value) => text(one, value));

// Names are written where there are several values; of one, a stat writes it when told to, and bars when their
// panel, and not only an override, has a name (`clearNameForSingleSeries` in `BarGaugePanel.tsx`).
function figures(panel, data) {
  const found = grafana.getFieldDisplayValues({
    data, theme, replaceVariables, fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions,
  });
  const isAloneNamed = panel.type === "bargauge"
    ? Boolean(panel.fieldConfig.defaults.displayName) : panel.options.textMode === "value_and_name";
  const named = found.length > 1 || isAloneNamed;
  return found.map(({ display }) => {
    const figure = grafana.formattedValueToString(display);
    return named && display.title ? `${display.title}: ${figure}` : figure;
  });
}

function cells(panel, data) {
  if (!data.length || !data[0].length) {
    return [panel.fieldConfig.defaults.noValue];
  }
  const [frame] = data;
  const columns = frame.fields.map((one) => [grafana.getFieldDisplayName(one, frame, data), ...texts(one)]);
  return columns[0].map((_, row) => columns.map((column) => column[row]).join(" | "));
}

// The legend of each series, and what is said of its values.
const named = (said) => (panel, data) => {
  const found = data.flatMap((frame) =>
    frame.fields
      .filter(({ type }) => type === "number")
      .map((one) => `${grafana.getFieldDisplayName(one, frame, data)}: ${said(texts(one))}`),
  );
  return found.length ? found : [panel.fieldConfig.defaults.noValue];
};

function buckets(panel, data) {
  const bound = grafana.getValueFormat(panel.options.yAxis.unit);
  const found = data
    .map(({ name }) => number(name))
    .sort((one, other) => one - other)
    .map((at) => (Number.isFinite(at) ? grafana.formattedValueToString(bound(at)) : "more"));
  // Grafana 9.4 removes from a heat map's defaults what its editor does not offer, `noValue` among it.
  return [found.length ? found.join(", ") : "No data"];
}

const READERS = {
  stat: figures,
  bargauge: figures,
  table: cells,
  timeseries: named((said) => said.at(-1)),
  "state-timeline": named((said) => [...new Set(said)].join(", ")),
  heatmap: buckets,
};

async function displayed(one) {
  const { panel } = one;
  const transformed = await new Promise((resolve, reject) =>
    grafana.transformDataFrame(panel.transformations, frames(one)).subscribe({ next: resolve, error: reject }),
  );
  const data = grafana.applyFieldOverrides({
    data: transformed, fieldConfig: panel.fieldConfig, theme, replaceVariables, timeZone: "utc",
    fieldConfigRegistry: grafana.standardFieldConfigEditorRegistry,
  });
  return READERS[panel.type](panel, data);
}

Promise.all(asked.panels.map(displayed)).then((found) => process.stdout.write(JSON.stringify(found)));
