"""Words that stand beside numbers, in the languages that models answer in: scale words, units, counted things, changes.

A word behind a number is one of four things. A *scale word* multiplies it (`5万`, `5 million`). A *unit* or a *counted thing*
leaves it alone (`5 cm`, `5 apples`). A *change* makes another statement of it (`5 or more`, `5 below zero`). Anything else is
unknown, and an answer that rests on an unknown word is not judged. So units are listed, not exceptions: a scale word that
nobody thought of is never taken for a unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text that lists them."""
    return frozenset(text.split())


def _table(text: str) -> dict[str, str]:
    """`name: spelling spelling; …` as spelling → name; the name is a spelling of itself. `_` is a space."""
    found: dict[str, str] = {}
    for entry in re.split(r"[;\n]", text.strip()):
        name, _, others = entry.strip().partition(":")
        for spelling in (name, *others.split()):
            if spelling:
                found[spelling.replace("_", " ")] = name
    return found


_SCALES = """
100: hundred hundreds hundert centaines cientos centinaia 百 백 सौ сотня сотни сотен yüz trăm
1000: thousand thousands tausend mil mille mila 千 천 тысяча тысячи тысяч тыс हजार হাজার  พัน duizend tusen tusind tuhat tuhatta tuhansia tysiąc tysiące tysięcy tisíc tisíce ezer mie mii bin ألف آلاف nghìn ngàn ribu elfu χιλιάδες χιλιάδα వేలు వెయ్యి
10000: 万 萬 만 หมื่น myriad
100000: lakh lakhs लाख লাখ แสน laki లక్షలు
1000000: million millions millionen millones millón milhões milhão milione milioni миллион миллиона миллионов млн miljoen miljoner miljon millioner miljoona miljoonaa milion miliony milionów milionů millió milioane milyon مليون ملايين triệu juta  ล้าน 百万 백만 εκατομμύρια εκατομμύριο మిలియన్ mio mln
10000000: crore crores करोड़ কোটি కోట్లు 千万 천만
100000000: 亿 億 억
1000000000: billion billions bn milliarde milliarden milliard milliards miliardi miliardo миллиард миллиарда миллиардов млрд miljard miljarder miljardi miljardia miliard miliardy miliardów milliárd miliarde milyar مليار مليارات tỷ tỉ miliar bilioni mrd mld mil_millones
1000000000000: trillion trillions billionen billones трлн триллион триллионов триллиона 兆 조 trilyun nghìn_tỷ
12: dozen dozens dutzend douzaine douzaines docena docenas dúzia dúzias dozzina dozzine дюжина дюжины дюжин 打
"""
SCALES: Mapping[str, Fraction] = {word: Fraction(factor) for word, factor in _table(_SCALES).items() if not word.isdecimal()}
"""Words that multiply the number before them. `billones` and `Billionen` are 10^12, as those who write them mean it."""

_ORDINALS = (
    "half third quarter fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth "
    "seventeenth eighteenth nineteenth twentieth"
)
FRACTIONS: Mapping[str, Fraction] = {
    **{word + end: Fraction(1, number) for number, word in enumerate(_ORDINALS.split(), 2) for end in ("", "s")},
    "halves": Fraction(1, 2), "fourth": Fraction(1, 4), "fourths": Fraction(1, 4),
    **{
        word + end: Fraction(1, number)
        for word, number in {"thirtieth": 30, "fortieth": 40, "fiftieth": 50, "sixtieth": 60, "hundredth": 100, "thousandth": 1000,
                             "millionth": 10**6, "billionth": 10**9}.items()
        for end in ("", "s")
    },
    "percent": Fraction(1, 100), "percentage": Fraction(1, 100), "pct": Fraction(1, 100), "prozent": Fraction(1, 100),
    "pourcent": Fraction(1, 100), "процент": Fraction(1, 100), "процента": Fraction(1, 100), "процентов": Fraction(1, 100),
    "퍼센트": Fraction(1, 100), "パーセント": Fraction(1, 100), "procent": Fraction(1, 100), "phần trăm": Fraction(1, 100),
    "por ciento": Fraction(1, 100), "por cento": Fraction(1, 100), "per cento": Fraction(1, 100), "per cent": Fraction(1, 100),
    "pour cent": Fraction(1, 100), "per mille": Fraction(1, 1000), "per mil": Fraction(1, 1000), "promille": Fraction(1, 1000),
    "permille": Fraction(1, 1000), "basis point": Fraction(1, 10_000), "basis points": Fraction(1, 10_000), "bps": Fraction(1, 10_000),
    "成": Fraction(1, 10), "할": Fraction(1, 10), "割": Fraction(1, 10), "ppm": Fraction(1, 10**6),
}  # fmt: skip
"""Words that divide the number before them."""

CHANGES = frozenset(
    _table(
        """or: and nor but not no none never isn't isnt aren't neither either between plus minus negative positive less more fewer than
over: under above below beyond beneath within outside least most about approximately approx roughly nearly almost around circa ca. ish    squared cubed factorial modulo
base: choose to through thru until till from  time's divided multiplied  power root square-root cubed
infinity: infinite undefined unknown remainder r is are was were be wrong incorrect false true  maybe perhaps possibly probably if when unless
before: after since   pi e i sqrt
mehr: weniger oder und nicht über unter etwa ungefähr   mindestens höchstens
plus: moins ou et pas environ presque au-dessus au-dessous
más: menos o y  aproximadamente mas  não sem più meno non  circa
больше: меньше или более менее не примерно около свыше минус
以上: 以下 以内 以外 左右 多 余 不 不到 上下 之间 到 至 倍 分之 负 约 超过 少于 以後 以前 之前 之后 前後 未満 程度 くらい ぐらい ほど 弱 強 より 以降 ではない ではありません じゃない でない
이상: 이하 미만 초과 정도 쯤 약 보다 내외 배 아닙니다 아니다 아니에요 아닌 아님
أو: و ليس أكثر أقل تقريبا
या: और नहीं से_अधिक से_कम लगभग
"""
    )
)
"""Words that make another statement of the number they stand beside. Where one stands, nothing is ignored."""

UNCLEAR = words_of(
    """
    too short loss lost debt owed doubled tripled halved up upward upwards down downward downwards onward onwards inclusive exclusive
    exceeding maximum minimum max ahead behind later earlier ago mod 不是
    """
)
"""Words that may make another statement of the number, or only say what it counts: `5 short`, `5 maximum`."""

FILLERS = words_of(
    """
    of the a an in total totally altogether per each every for all overall different distinct possible such real whole
    full new exactly only combined together this that our her his their its one-way entire remaining old left extra same
    unique valid rounded correct final answer solution value result de la le les des del los las di da do das dos der die
    das den du d का की के में общая всего в на с par por pro per al
    """
)  # fmt: skip
"""Words between a number and its unit that say nothing of the number."""

# Units of measurement. What converts is in `_FACTORS`.
_UNITS = """
mm: millimeter millimetre millimètre milimetro milímetro миллиметр мм 毫米 ミリ; cm: centimeter centimetre cms centimètre centimetro centímetro zentimeter сантиметр см 厘米 センチ 센티미터
dm: decimeter decimetre дм 分米; m: meter metre mtr mts mètre metro метр м 米 メートル 미터 mét; km: kilometer kilometre kms kilomètre kilometro quilômetro quilómetro километр км 千米 公里 キロメートル 킬로미터
in: inch inches pulgada zoll дюйм 英寸; ft: foot feet fuß pied фут 英尺; yd: yard ярд 码; mi: mile миля мили миль meile 英里
nm: nanometer nanometre; um: µm μm micron micrometer micrometre; Å: angstrom ångström; pm: picometer; au: AU; ly: lightyear light-year
g: gram gm gramme gramm gramo грамм г 克 グラム 그램; kg: kilogram kilo kgs kilogramme kilogramm kilogramo килограмм кг 千克 公斤 キログラム 킬로그램; mg: milligram milligramme мг 毫克; ton: tonne tons tonnes tonelada тонна тонны тонн т 吨 トン 톤; t:
lb: pound lbs libra фунт 磅; oz: ounce унция 盎司; stone:
ml: milliliter millilitre mL миллилитр мл 毫升; l: liter litre L ltr litro литр л 升 リットル 리터; gal: gallon галлон 加仑; cup: ; pint: pt; quart: qt; tbsp: tablespoon; tsp: teaspoon; cc: ; dl: deciliter dL
s: second sec secs seconde segundo sekunde секунда секунды секунд с 秒 초; min: minute mins minuto мин минута минуты минут минута 分钟 分鐘 分 분; h: hour hr hrs heure hora stunde час часа часов ч 小时 小時 時間 시간 giờ ora; day: días día jour tag tage день дня дней 天 日 일 ngày dia dias giorno giorni 日間
week: wk semaine semana woche wochen неделя недели недель 周 星期 주 週間 settimana settimane; month: mois mes meses monat monate месяц месяца месяцев 个月 個月 달 개월 ヶ月 か月 mese mesi tháng; year: yr yrs an ans année années año años jahr jahre jahren год года лет 年 岁 歲 歳 년 세 살 才 ano anos anno anni năm tuổi
ms: millisecond; us: μs µs microsecond; ns: nanosecond; decade: ; century: centuries
mph: miles-per-hour; kmh: kmph  kph; mps: ; knot:
$: dollar buck USD usd 美元 달러 ドル доллар доллара долларов dólar dólares dollaro dollari đô; €: euro EUR eur евро 欧元 ユーロ 유로; £: GBP 英镑; ¥: yuan yen RMB rmb CNY JPY 元 块 円 块钱 元钱; ₹: rupee Rs Rs. INR रुपये रुपए টাকা रु; ¢: cent 美分 цент цента центов; ₽: ruble rouble рубль рубля рублей руб; ₩: won 원; ฿: baht บาท; ₫: dong đồng; penny: pence; peso: pesos; franc: francs; krona: kronor krone kroner kr; zł: złoty złotych; lei: leu; Ft: forint; Kč: koruna korun; shilling: shilingi; rand: ; lira: TL liras; 角: ; 分钱:
°: degree deg degrés grad grados grado градус градуса градусов 度 도; rad: radian; sr: steradian; unit:  units 单位; °C: celsius centigrade ℃ 摄氏度; °F: fahrenheit ℉
N: newton Н; kN: kilonewton; J: joule Дж 焦 焦耳; kJ: kilojoule; MJ: ; cal: calorie; kcal: kilocalorie 大卡; eV: electronvolt; keV: ; MeV: ; GeV: ; W: watt Вт 瓦; kW: kilowatt; MW: ; kWh: kilowatt-hour 度电; Wh: ; hp: horsepower
V: volt В 伏; mV: ; kV: ; A: ampere amp А 安; mA: ; Hz: hertz Гц 赫兹; kHz: ; MHz: ; GHz: ; K: kelvin; mol: mole моль 摩尔; mmol: ; Pa: pascal Па 帕; kPa: ; MPa: ; bar: ; atm: атм; mmHg: ; torr: ; Ω: ohm Ом 欧姆; kΩ: kohm; C: coulomb Кл; F: farad; μF: uF µF; H: henry; T: tesla Тл; mT: ; Wb: weber; G: gauss; lx: lux; cd: candela; dB: decibel; Bq: ; Ci: ; Sv: ; Gy: ; M: molar; mM: ; pH: ; D: debye; u: amu Da
B: byte; kB: kilobyte KB; MB: megabyte Mb; GB: gigabyte gb; TB: terabyte; bit: bits ; rpm: ; fps: ; px: pixel
acre: ; ha: hectare гектар 公顷 헥타르; 亩: 畝; 平: 坪
"""

_NOUNS = """
people persons person men man women woman children child kids kid boys girls students student teachers pupils workers employees members players
passengers customers guests friends adults visitors parents siblings brothers sisters cousins campers voters citizens families couples teams
animals dogs cats cows sheep goats horses chickens ducks birds fish fishes rabbits frogs turtles snakes pets insects ants bees lions legs wheels
apples apple oranges bananas fruits fruit strawberries tomatoes lemons peaches cherries grapes mangoes berries vegetables potatoes eggs egg
cookies cupcakes cakes pies pizzas sandwiches candies candy chocolates donuts doughnuts muffins brownies slices slice servings loaves pancakes
bottles cans cups glasses boxes bags baskets jars packs packages cartons containers crates cases barrels buckets trays rolls sheets bars bunches
books book pages page words letters pencils pens crayons stickers cards card stamps tickets photos pictures paintings songs movies games notebooks
toys dolls balls marbles blocks balloons beads coins coin tokens stars dice keys shells stones rocks sticks
cars bikes bicycles buses trucks trains boats planes vehicles tires seats rooms houses homes buildings floors doors windows chairs tables desks
trees flowers plants roses leaves seeds bushes petals logs
shirts shoes socks hats dresses pants jackets towels buttons bracelets necklaces rings clothes
 points point goals runs wins losses votes marks steps trips turns rounds laps  jumps shots hits levels sessions lessons classes
questions problems tasks items item things thing objects pieces piece parts groups sets rows columns lines layers sections  copies
ways way outcomes possibilities combinations permutations arrangements sequences solutions roots values integers numbers  triples triplets
digits primes factors divisors multiples terms elements subsets functions triangles  circles rectangles cubes polygons sides edges
vertices faces diagonals angles paths routes  strings matrices polynomials zeros zeroes intersections regions handshakes matches tournaments
calories bolts stairs tiles bricks gifts presents plates bowls forks spoons candles nights meals dishes customers  articles newspapers messages emails calls texts
sales jobs machines computers phones batteries bulbs lamps fans flashlights bills  snacks drinks sodas  stops   jelly beans jellybeans
accessories accidents accounts acorns administrators ads airplanes albums alligator alligators aluminum amoebae amulets
animal answers antacids antibiotics antlers apartment apartments appetizers applications appointments apps aprons
aquariums armchairs arms arrows artichokes artifacts artworks asparagus athletes attendees audiobooks aunts
autobiographies avocados awards babies backpacks bacon bacterial badges bag bagels baggies baguettes bales ball balloon
banana bandages bands barrettes baseball baseballs basil basketball basketballs batches bath bathrooms baths bats
beakers beanie bears beavers bedbugs bedrooms beds beetles begonias beignets bell belts benches berets bids bike
billboards binders biographies birches birdhouses birthday biscuits blackberries blackbirds blankets blisters blondies
blouses blowfish blueberries blueberry bluebirds boards boas bobby bollards bolt bones bonnets bookcases bookshelves
bottle bottlecaps bouquets bowlfuls box boxwoods braids branches breaths bridesmaids brochures bronze broomsticks
bubbles bucket bugs builders bundles bunnies buns burgers burritos bushels businesses butterflies buyers cabinets cages
calves camels cameras candle canes cannolis cantaloupes cappuccinos caps capsules car caramels cardinals caricatures
carnations carpenters carpets carriages carrots cartridges castles cat caterpillars cavities ceilings cell cement
centerpieces champions channels chapters characters cheerleaders cheese cheesecakes cheetahs chefs cherry chests chicken
chicks chimichangas chipmunks chips chives chocolate chores cirrus citations cities clarinets class classmates
classrooms claws clay clerks clients clippings clips cloaks clotheslines clouds clovers cloves clownfish clowns clusters
coal coals coats cobras coconut coconuts coffee coffees collectors colleges colors comic comics compartments complaints
cones consonants contacts contracts convertibles cookie coolers corn corns cosmetics cotton cougars coughs counselors
counters countries coupons courses crabs crackers crafts cranberries craters crayon crickets crocus croissants crops
crosswalks croutons crows cucumbers cuffs cumulus curlers cutlery cycle cycles dahlias daisies dance dancers dandelion
dandelions daughters decorations deers defenders deliveries demerits desserts devices diapers diaries dinners dinosaur
doctors dog dolphins dominoes donations doubles doves downloads dragons drawings dreadnoughts dreams dress driveways
dromedaries drummers drums dryers ducklings dumplings dust dwarves earrings ears eggplants elephants elves emeralds emus
engines envelopes episodes erasers espressos essays exams exercises eyes eyeshadow fairies farmhands farms feathers
females fences ferns field fields figurines files filets fillets fingernails fingers firecrackers firefighters fireflies
fires fireworks flags flagstones flamingoes flavors fleas flies flights flips flutes flyers folders foldings followers
football footballs footprints foxes french fries frisbees galleries game gardenias geckos geese gems gemstones geraniums
gerbils gharials gift gigs gingerbreads giraffe giraffes glass glitches glue gnomes goal gold golden goldfish golf
graduates graham grains grandchildren grandkids granola grape grass grasshoppers graves guest guides guinea guitars
gumballs gummy guns guppies gusts haircuts hairs halls hamburgers hamsters hands hangers hares hawks head heads hearts
helmets hens herb hermit hexagons highlighters hikes hives hockey holes home honeydews hoodies hoots hops horseshoes
hospitals hot hotdogs households human humans humps hushpuppies huskies hybrid ice iguanas individuals inpatients
instances instructions instructors instruments invitations iris iron islands issues jaguars jalapeno jeans jello
jellyfish jerseys jewels job joggers jokes jugs juice juices jumpers kabob kangaroos kernels kettles key keyboards
kindergartners kinds kitchens kits kittens knives koalas koi lab ladders ladies lambs land laptops lasagnas lattes lawns
lego legos lemon leopards lettuce life lighters lights lilacs lilies limbs limes lizards llamas loads loggers lollipops
lunches lychees macarons macaroons magazines maggots magnets magpies males mambas managers mango mangos marigolds
marines markers marshmallows mascots masks matchboxes matchsticks math mats meat meatballs medals melons metal mice
microphones mild milkshakes millipedes minks minnows mirrors mistakes mittens model models monkeys monsters mosquito
motorbikes motorcycles mountains moves mugs mushrooms music musicians mystery nail nails napkins naps nautical neighbors
nephews netbooks newborns noodles noses notepads notes nougats novels nuggets nurses nuts oaks offices oil oldies
omelets onions orchards orchids orcs outfits oysters pack packets pails pajama pallets palm pamphlets panda pandas
panels pans pansies papayas paperclips papers paragraphs parrots parsecs parsley parsnips participants party pastries
patches patients patrons paws paychecks payments peanut peanuts pearls pears pebbles penguins penthouse pepperjack
pepperoni peppers periods permits pet petunias photographs phrases pianists pickle pickles picks pie pigeons piglets
pigs piles pillow pillows pills pine pineapples pinecones pines pins pit pitches pits pizza planks plastic platters
playlists plumeria plums pockets pods pointers pokemon poles polka pollywogs pomegranates pomelos poodles pool pools
popsicle popsicles portions postcards posters posts pots pouches precious pretzels printers products programs puffs pull
pumpkins pumps punches puppies pups push pushups puzzles pythons quiches quilts quizzes racers races racquets raffle
raisins raspberries rats razors recipes records redwoods relatives remoras reports reps requests residents restaurants
reward rhinestones rhinos ribbons riddles riders rides ridges ripe road robes robins robots rodents roll roofs roommates
roosters rose rotations round rubies ruffles rugs rungs runners sacks sage sailboats sails salads samples sandcastles
sandwich saplings sapphires sauces sausages scallops scarves school schools scissors scoops scouts screens screws
scrunchies seagulls seashells season seasons seedlings segments senior seniors sentences sequins shampoos shark sharks
shelves shifts shingles shirt shorts showers shrimp signatures singers sit sites situps size skates skein skeins
skeletons skips skirts skulls slacks sleeves smoothies smores snails snapdragons sneakers snowballs snowflakes soaps
soda sofas softballs solar soldiers sonnets sons sours souvenirs spaces sparklers sparrows spears specialists species
spicy spiders spiderwebs spiral spokes spools spoonfuls spots sprigs spruces squads squats squirrels stables stacks
stadiums stains stalks stanzas staplers starfish statues steak steaks stems stingrays stitches stockings stools
stoplights stores stories strands strawberry straws street streetlights streets stripes strips strokes stuffies subjects
subs subscribers subsections substitutions suckers sugar suggestions suitcases suits sun sunflowers supplies surfers
surveys swallows swans sweaters sweatshirts sweet sweets swirls swordfish systems tabs tacks tadpoles tails tangerines
tanks tapes tarantulas tattoos taxis teacups tears teddies teenagers tees teeth telephone televisions tennis tents
terriers tests tetras theme thorns thumbtacks ticket ticks ties tigers time tins tissues toads toddlers toenails toes
toilet tomato tools toothbrushes toothpicks toppings touchdowns tourists towers tractor trash treasures treats tricycle
trolls trombones trophies trout trouts truck truckloads truffles trumpets tubes tubs tulip tulips tumblers turkeys twigs
types umbrellas uncles unicorns uniforms users utensils vacation vacations vaccines vampire vampires vanilla vans vases
vents verbena vessels vets vibrations video videos viewers vines violins visits vlogs volleyballs volunteers vowels
waiters walks wall walls walnuts wand wands washers watermelon watermelons weasels websites wedges weeds weekdays
weekend weekends werewolves whales whiskers whistlers whiteboards wicks widgets wights wigs window wings wipes wireless
wolves wombats wood worksheets worms wrinkles yogurts yolks zebra zebras zits zombies
sq. sq square squares cubic square-foot square-feet   a.m. p.m. noon midnight o'clock
red blue green yellow white black pink purple orange brown small large big male female  wooden baby  toy
st nd rd th
äpfel apfel birnen orangen bananen bücher buch kinder personen leute schüler stück seiten mal autos häuser tiere eier hunde katzen bonbons murmeln blumen karten kekse
pommes personnes élèves enfants livres    billes voitures maisons animaux œufs fleurs cartes fois pièces  chiens chats
manzanas naranjas personas niños niñas libros páginas estudiantes alumnos coches casas animales huevos flores galletas veces monedas canicas perros gatos
maçãs laranjas pessoas crianças livros alunos carros moedas ovos  mele persone bambini libri pagine studenti uova fiori
яблок яблока яблоко яблоки человек человека людей книг книги страниц страницы детей ребёнок учеников штук шт раз раза деревьев конфет карандашей тетрадей машин   домов
appels mensen boeken kinderen bladzijden äpplen böcker barn elma kişi kitap öğrenci táo người quyển học_sinh apel orang buku watu vitabu maapulo
個 个 只 隻 本 页 頁 人 名 位 条 條 张 張 枝 支 棵 朵 颗 顆 粒 件 双 对 套 辆 輛 台 架 间 間 层 層 次 回 步 组 組 题 題 种 種 袋 盒 箱 瓶 杯 碗 盘  片 根 把 顶 头 頭 匹  份 班 排 行 列 封 篇 首 场 場  号 號 期 节 節 段 批 筐 桶 包 座 艘 幅 株 个人 苹果 苹 果 书 学生 人数 小朋友 梨 桃子 桃 鸡 鸭 鱼 兔 羊 牛 车 树 花 铅笔 同学 平方 立方  解  点 分数
 冊 枚 羽   通り ページ ぺージ つ  番目 番
개 명 권 마리 장 대 송이 자루 병 그루 번 가지 쪽 페이지 사람 학생 사과  문제 점 켤레 봉지 상자 조각 줄
सेब लोग बच्चे किताबें पुस्तकें  पन्ने छात्र तरीके आपेल জন টি টা আপেল বই คน เล่ม ผล ลูก ตัว อัน หน้า ใบ కి మంది
كتاب كتب تفاحات تفاحة أشخاص شخص طلاب طالب صفحة صفحات كرة كرات
"""

_CANONICAL = dict(_table(_UNITS).items())
NOUNS = frozenset(_NOUNS.split())
"""Things that are counted, and what is said of them."""

SHORT = words_of(
    """
    mm cm km dm ft kg mg lb lbs oz ml mL mph kmh kmph kph km/h m/s cm/s mi/h hr hrs min mins sec secs Hz kHz MHz GHz Pa
    kPa MPa mol mmol USD inches in yd kJ MJ kN eV keV MeV GeV kW kWh MW kV mV mA nm rad rpm GB MB KB TB gb lbs gal qt pt
    kcal cal bits px ha cc L bn RMB EUR dB m^2 m^3 m/s^2 rev deg atm bar cms kgs gms yrs yr wk ms ns sq
    """
)
"""What is a unit also without `\\text` and without a space before it. Single letters are variables: `5m` is 5·m."""

# Conversions: base dimension and factor; exact.
_BASES = """
length: m=1 mm=1/1000 cm=1/100 dm=1/10 km=1000 nm=1/1000000000 um=1/1000000 pm=1/1000000000000 in=127/5000 ft=381/1250 yd=1143/1250 mi=201168/125
mass: kg=1 g=1/1000 mg=1/1000000 ton=1000 lb=45359237/100000000 oz=45359237/1600000000
time: s=1 ms=1/1000 us=1/1000000 ns=1/1000000000 min=60 h=3600 day=86400 week=604800
volume: l=1 ml=1/1000 dl=1/10 cc=1/1000
dollar: $=1 ¢=1/100
amount: mol=1 mmol=1/1000
current: A=1 mA=1/1000
temperature: K=1
charge: C=1
data: B=1
"""
_DERIVED = """
J: kg=1 m=2 s=-2; N: kg=1 m=1 s=-2; W: kg=1 m=2 s=-3; Pa: kg=1 m=-1 s=-2; Hz: s=-1; V: kg=1 m=2 s=-3 A=-1; Ω: kg=1 m=2 s=-3 A=-2
F: kg=-1 m=-2 s=4 A=2; T: kg=1 s=-2 A=-1
"""
_PREFIXED: Mapping[str, tuple[str, int | Fraction]] = {"kJ": ("J", 1000), "MJ": ("J", 10**6), "kN": ("N", 1000), "kW": ("W", 1000), "MW": ("W", 10**6), "kPa": ("Pa", 1000),
             "MPa": ("Pa", 10**6), "kHz": ("Hz", 1000), "MHz": ("Hz", 10**6), "GHz": ("Hz", 10**9), "kV": ("V", 1000),
             "mV": ("V", Fraction(1, 1000)), "kΩ": ("Ω", 1000)}  # fmt: skip

Dimensions = tuple[tuple[str, int], ...]


def _bases() -> dict[str, tuple[Fraction, dict[str, int]]]:
    found: dict[str, tuple[Fraction, dict[str, int]]] = {}
    for line in _BASES.strip().splitlines():
        dimension, _, units = line.partition(":")
        for unit in units.split():
            name, _, factor = unit.rpartition("=")
            found[name] = (Fraction(factor), {dimension: 1})
    for entry in re.split(r"[;\n]", _DERIVED.strip()):
        name, _, parts = entry.strip().partition(":")
        total: dict[str, int] = {}
        for part in parts.split():
            base, _, power = part.partition("=")
            for dimension in found[base][1]:
                total[dimension] = total.get(dimension, 0) + int(power)
        found[name] = (Fraction(1), total)
    for name, (base, times) in _PREFIXED.items():
        found[name] = (Fraction(times), found[base][1])
    found["mph"] = (found["mi"][0] / 3600, {"length": 1, "time": -1})
    found["kmh"] = (Fraction(1000, 3600), {"length": 1, "time": -1})
    found["mps"] = (Fraction(1), {"length": 1, "time": -1})
    return found


MEASURES: Mapping[str, tuple[Fraction, Mapping[str, int]]] = _bases()
"""Canonical unit → its factor and its dimensions, where it converts into others. A litre is no cubic metre here."""


def unit_of(word: str) -> str | None:
    """Return the canonical name of a unit, or None where the word is none."""
    stripped = word.rstrip(".")
    low = stripped.lower()
    for spelling in (
        word,
        stripped,
        low,
        low.removesuffix("es"),
        low.removesuffix("s"),
        low.removesuffix("en"),
        low.removesuffix("n"),
    ):
        if spelling in _CANONICAL and (len(spelling) > 1 or spelling in (word, stripped) or not spelling.isascii()):
            return _CANONICAL[spelling]
    return None


def scale_of(word: str) -> Fraction | None:
    """Return what a word multiplies the number before it by; None where it is no scale word."""
    stripped = word.rstrip(".")
    for spelling in (word, stripped, stripped.lower() if len(stripped) > 1 else stripped):
        found = SCALES.get(spelling) or FRACTIONS.get(spelling)
        if found is not None:
            return found
    return None


# Numbers in words.

_SMALL = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    "de": "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince",
    "pt": "zero um dois três quatro cinco seis sete oito nove dez onze doze",
    "it": "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici",
    "ru": "ноль один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать",
    "ko": "영 하나 둘 셋 넷 다섯 여섯 일곱 여덟 아홉 열",
}
_SMALL_NUMBERS: dict[str, int] = {word: value for words in _SMALL.values() for value, word in enumerate(words.split())}
_TENS_NAMES = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: 10 * value for value, word in enumerate(_TENS_NAMES.split(), 2)}
_BIG = {"thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_HAN = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_HAN_SCALES = {"十": 10, "百": 100, "千": 1000}
_HAN_BIG = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
HAN_DIGITS = "".join((*_HAN, *_HAN_SCALES, *_HAN_BIG))


def number_in_words(text: str) -> Fraction | None:
    """Return the number that words spell: `seven`, `one hundred and five`, `two thirds`, `十二`; None where they spell none."""
    if text.startswith("-"):
        value = None if "negative" in text or "minus" in text else number_in_words(text[1:].strip())
        return None if value is None else -value
    words = text.casefold().replace("-", " ").split()
    if not words or len(words) > 12:
        return None
    if len(words) == 1 and all(char in HAN_DIGITS for char in words[0]):
        return _han(words[0])
    if len(words) == 1 and "分之" in words[0]:  # 三分之二
        parts = [part for part in words[0].partition("分之")[::2] if part and all(char in HAN_DIGITS for char in part)]
        values = [Fraction(100) if part == "百" else _han(part) for part in parts]
        return values[1] / values[0] if len(values) == 2 and values[0] and values[1] is not None else None
    sign = Fraction(1)
    if words[0] in ("minus", "negative"):
        sign, words = Fraction(-1), words[1:]
    halves = {"half": Fraction(1, 2), "quarter": Fraction(1, 4), "third": Fraction(1, 3)}
    if len(words) > 3 and words[-3:-1] == ["and", "a"] and words[-1] in halves:  # two and a half
        whole = _english(words[:-3])
        return None if whole is None else sign * (whole + halves[words[-1]])
    if "and" in words[1:-2] and words[-1] in FRACTIONS and "percent" not in words[-1]:  # two and three quarters
        at = len(words) - 1 - words[::-1].index("and")
        whole, part = _english(words[:at]), _english(words[at + 1 : -1])
        if whole is not None and part is not None and part * FRACTIONS[words[-1]] < 1:
            return sign * (whole + part * FRACTIONS[words[-1]])
    if words in (["a", "dozen"], ["one", "dozen"], ["dozen"]):
        return Fraction(12)
    if words == ["half"]:
        return Fraction(1, 2)
    if words == ["quarter"]:
        return None
    if len(words) > 1 and words[-1] in FRACTIONS and words[-1] not in ("percent", "percentage", "pct"):
        top = Fraction(1) if words[:-1] in (["a"], ["an"]) else _english(words[:-1])
        return None if top is None else sign * top * FRACTIONS[words[-1]]
    value = _english(words)
    return None if value is None else sign * value


def _english(words: list[str]) -> Fraction | None:
    if len(words) == 1 and words[0] in _SMALL_NUMBERS:
        return Fraction(_SMALL_NUMBERS[words[0]])
    total = current = 0
    last = ""
    for word in words:
        if word == "and" and last in ("hundred", *_BIG):
            pass
        elif word == "a" and not last:
            current = 1
        elif word in _SMALL["en"].split():
            if last in _SMALL["en"].split() or (last in _TENS and _SMALL_NUMBERS[word] > 9):
                return None
            current += _SMALL_NUMBERS[word]
        elif word in _TENS:
            if last in _TENS or last in _SMALL["en"].split():
                return None
            current += _TENS[word]
        elif word == "hundred" and 0 < current < 100:
            current *= 100
        elif word in _BIG and 0 < current < 1000:
            total, current = total + current * _BIG[word], 0
        else:
            return None
        last = word
    return Fraction(total + current) if last not in ("", "and", "a") else None


def _han(text: str) -> Fraction | None:
    total = section = digit = 0
    if len(text) > 1 and all(char in _HAN for char in text):  # 二〇二四
        return Fraction(int("".join(str(_HAN[char]) for char in text)))
    for char in text:
        if char in _HAN:
            digit = _HAN[char]
        elif char in _HAN_SCALES:
            section += (digit or 1) * _HAN_SCALES[char]
            digit = 0
        elif section + digit == 0:
            return None  # a scale word alone is no number
        else:
            total, section, digit = (total + section + digit) * _HAN_BIG[char], 0, 0
    return Fraction(total + section + digit)


MONTHS = {
    name: number
    for number, names in enumerate(
        ["january jan janvier januar enero janeiro gennaio", "february feb février februar febrero fevereiro febbraio",
         "march mar mars märz marzo março", "april apr avril abril aprile", "may mai mayo maio maggio",
         "june jun juin juni junio junho giugno", "july jul juillet juli julio julho luglio", "august aug août agosto",
         "september sep sept septembre septiembre setembro settembre", "october oct octobre oktober octubre outubro ottobre",
         "november nov novembre noviembre novembro", "december dec décembre dezember diciembre dezembro dicembre"], 1
    )
    for name in names.split()
}  # fmt: skip
"""Months by their names in English, French, German, Spanish, Portuguese and Italian."""
